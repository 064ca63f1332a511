// Results of a classifier: the best classes, best first, ties by lower index.
#ifndef ESPGEN_CLASSIFY_H_
#define ESPGEN_CLASSIFY_H_

#include <stdint.h>

namespace espgen {

struct Class {
  int32_t index;
  float score;
};

// Writes the `count` best of `elements` integer scores (count <= elements), real score = scale *
// (value - zero_point).
template <typename T>
inline void top_classes(const T* values, int32_t elements, float scale, int32_t zero_point,
                        Class* best, int32_t count) {
  int32_t found = 0;
  for (int32_t index = 0; index < elements; ++index) {
    const float score =
        scale * static_cast<float>(static_cast<int32_t>(values[index]) - zero_point);
    if (found == count && score <= best[count - 1].score) continue;
    int32_t place = found < count ? found++ : count - 1;
    for (; place > 0 && best[place - 1].score < score; --place) best[place] = best[place - 1];
    best[place] = {index, score};
  }
}

}  // namespace espgen

#endif  // ESPGEN_CLASSIFY_H_

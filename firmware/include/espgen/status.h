// How an inference ended.
#ifndef ESPGEN_STATUS_H_
#define ESPGEN_STATUS_H_

#include <stdint.h>

namespace espgen {

enum class Status : uint8_t {
  kOk = 0,
  // Another task of this core used the vector unit while a layer ran, and the system did not keep
  // all of its state: the outputs are not to be believed.
  kVectorUnitDisturbed = 1,
  // Called from an interrupt handler, where the vector unit is not to be had: nothing ran.
  kInInterrupt = 2,
};

inline const char* status_text(Status status) {
  switch (status) {
    case Status::kOk:
      return "ok";
    case Status::kVectorUnitDisturbed:
      return "another task used the vector unit while a layer ran";
    case Status::kInInterrupt:
      return "called from an interrupt handler";
  }
  return "unknown status";
}

}  // namespace espgen

#endif  // ESPGEN_STATUS_H_

// Compiled with -DESPGEN_SERVED_MODEL=<the model's namespace>.
#include "boards/served_model.h"

namespace ESPGEN_SERVED_MODEL {
extern const espgen::Model kModel;
}

namespace espgen {

const Model& ServedModel() { return ::ESPGEN_SERVED_MODEL::kModel; }

}  // namespace espgen

// A model without layers: what an image holds besides its model shows in one that serves this.
#include "espgen/model.h"

namespace no_model {

extern const espgen::Model kModel;
const espgen::Model kModel = {};

}  // namespace no_model

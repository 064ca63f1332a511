// The model of a program made for one model: a host library, an agent process, a simulator's image.
// (An application that holds several passes the one it means to espgen_board_serve.)
#ifndef ESPGEN_BOARDS_SERVED_MODEL_H_
#define ESPGEN_BOARDS_SERVED_MODEL_H_

#include "espgen/model.h"

namespace espgen {

const Model& ServedModel();

}  // namespace espgen

#endif  // ESPGEN_BOARDS_SERVED_MODEL_H_

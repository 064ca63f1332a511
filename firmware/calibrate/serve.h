// The loop that answers the host's commands.
#ifndef ESPGEN_CALIBRATE_SERVE_H_
#define ESPGEN_CALIBRATE_SERVE_H_

namespace espgen {
namespace calibrate {

// Returns when the host has said that it needs no more. platform::Start comes first.
void Serve();

}  // namespace calibrate
}  // namespace espgen

#endif  // ESPGEN_CALIBRATE_SERVE_H_

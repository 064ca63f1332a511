// p4sim: command line of the ESP32-P4 simulator.
#include <csignal>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <iostream>

#include "machine.h"
#include "uart.h"

namespace p4 {
namespace {

constexpr char kUsage[] =
    "p4sim --elf FILE [options]\n"
    "  --uart pty|stdio|none|file:PATH   UART0's host side (default pty: its path is printed "
    "first)\n"
    "  --uart-input PATH                 bytes UART0 receives\n"
    "  --memory-model on|off             caches and PSRAM cost cycles (default on)\n"
    "  --l2 128|256                      L2 cache in KB, taken from internal RAM (default 128)\n"
    "  --param NAME=VALUE                any number of the model\n"
    "  --params FILE                     the same, one per line, # starts a comment\n"
    "  --espv 21|22                      instruction set of the chip (default: the ELF's)\n"
    "  --lenient-loops                   only warn about hardware loops that break a rule\n"
    "  --interrupts N | LOW:HIGH         a timer interrupt about every N cycles, or after LOW to "
    "HIGH\n"
    "  --interrupts-at-loops             one after every round of a hardware loop, too\n"
    "  --seed N                          of the times between interrupts (default 1)\n"
    "  --task-switch 5.3|6.0             keeps of the vector unit what ESP-IDF from that version "
    "on\n"
    "                                    does (default 6.0)\n"
    "  --max-cycles N                    stop when a core gets there\n"
    "  --guard START:END[:loads|stores]  accesses there stop the simulation\n"
    "  --statistics FILE                 JSON at exit (default: standard output's last line)\n"
    "  --profile FILE                    JSON with cycles, instructions, stalls per function\n"
    "p4sim [--espv 21|22] --step IN OUT  one instruction per record\n"
    "p4sim [--espv 21|22] --disasm       PIE words in hexadecimal on standard input\n"
    "p4sim --parameters                  names and defaults as JSON\n"
    "p4sim --parameter-table             the same with units and meanings\n"
    "Exit status: the guest's; 121 stopped by an error; 122 usage or input error.\n";

constexpr int kStopped = 121;
constexpr int kUsageError = 122;

Guard ParseGuard(const std::string& text) {
  const size_t colon = text.find(':');
  if (colon == std::string::npos) throw std::runtime_error("expected START:END: " + text);
  const size_t second = text.find(':', colon + 1);
  const std::string kind = second == std::string::npos ? "" : text.substr(second + 1);
  Guard guard;
  guard.start = static_cast<uint32_t>(std::stoul(text.substr(0, colon), nullptr, 0));
  guard.end = static_cast<uint32_t>(std::stoul(text.substr(colon + 1), nullptr, 0));
  guard.kind = kind == "loads" ? kGuardLoads : kind == "stores" ? kGuardStores : 3;
  return guard;
}

int ParseLevel(const std::string& text) {
  if (text != "21" && text != "22") throw std::runtime_error("--espv 21|22");
  return std::stoi(text);
}

// "N": from half of it to one and a half of it, N on average; "LOW:HIGH".
void ParseIntervals(const std::string& text, Options& options) {
  const size_t colon = text.find(':');
  const auto first = static_cast<uint32_t>(std::stoul(text, nullptr, 0));
  const bool range = colon != std::string::npos;
  const uint32_t last =
      range ? static_cast<uint32_t>(std::stoul(text.substr(colon + 1), nullptr, 0)) : 0;
  options.shortest_interval = range ? first : first - first / 2;
  options.longest_interval = range ? last : first + first / 2;
  if (first == 0 || options.longest_interval < options.shortest_interval) {
    throw std::runtime_error("--interrupts takes N or LOW:HIGH, cycles from 1 on: " + text);
  }
}

Options ParseOptions(int argc, char** argv) {
  Options options;
  for (int i = 1; i < argc; ++i) {
    const std::string name = argv[i];
    if (name == "--lenient-loops") {
      options.loop_rules = LoopRules::kWarn;
      continue;
    }
    if (name == "--interrupts-at-loops") {
      options.interrupts_at_loops = true;
      continue;
    }
    if (i + 1 >= argc) throw std::runtime_error("missing value of " + name);
    const std::string value = argv[++i];
    if (name == "--elf") {
      options.elf = value;
    } else if (name == "--uart") {
      options.uart = value;
    } else if (name == "--uart-input") {
      options.uart_input = value;
    } else if (name == "--memory-model") {
      if (value != "on" && value != "off") throw std::runtime_error("--memory-model on|off");
      options.memory_model = value == "on";
    } else if (name == "--l2") {
      options.parameters.Set("l2_size=" + std::to_string(std::stoul(value) * 1024));
    } else if (name == "--param") {
      options.parameters.Set(value);
    } else if (name == "--params") {
      options.parameters.Read(value);
    } else if (name == "--espv") {
      options.espv = ParseLevel(value);
    } else if (name == "--interrupts") {
      ParseIntervals(value, options);
    } else if (name == "--seed") {
      options.seed = std::stoull(value);
    } else if (name == "--task-switch") {
      if (value != "5.3" && value != "6.0") throw std::runtime_error("--task-switch 5.3|6.0");
      options.switch_rules = value == "5.3" ? kIdf53 : kIdf60;
    } else if (name == "--max-cycles") {
      options.max_cycles = std::stoull(value);
    } else if (name == "--guard") {
      options.guards.push_back(ParseGuard(value));
    } else if (name == "--statistics") {
      options.statistics = value;
    } else if (name == "--profile") {
      options.profile = value;
    } else {
      throw std::runtime_error("unknown option " + name);
    }
  }
  if (options.elf.empty()) throw std::runtime_error("--elf is missing");
  return options;
}

void WriteFile(const std::string& path, const std::string& text) {
  std::ofstream file(path);
  file << text << "\n";
  if (!file) throw std::runtime_error(path + ": cannot be written");
}

void OnSignal(int) { interrupted = 1; }

int Simulate(const Options& options) {
  Machine machine(options);
  machine.LoadElf(options.elf);
  machine.uart = std::make_unique<Uart>(options.uart, options.uart_input);
  if (!machine.uart->pty_path().empty()) {
    printf("{\"pty\": \"%s\"}\n", machine.uart->pty_path().c_str());
    fflush(stdout);
  }
  struct sigaction action = {};
  action.sa_handler = OnSignal;
  sigaction(SIGTERM, &action, nullptr);
  sigaction(SIGINT, &action, nullptr);
  signal(SIGPIPE, SIG_IGN);
  const Stop stop = machine.Run();
  machine.uart->Flush(true);
  if (!options.profile.empty()) WriteFile(options.profile, machine.ProfileJson());
  const std::string statistics = machine.StatisticsJson(stop);
  if (!options.statistics.empty()) {
    WriteFile(options.statistics, statistics);
  } else {
    fprintf(options.uart == "stdio" ? stderr : stdout, "%s\n", statistics.c_str());
  }
  if (stop.error.empty()) return stop.status;
  fprintf(stderr, "p4sim: %s\n", stop.error.c_str());
  return kStopped;
}

int Main(int argc, char** argv) {
  int level = 21;
  if (argc > 3 && (strcmp(argv[3], "--step") == 0 || strcmp(argv[3], "--disasm") == 0)) {
    if (strcmp(argv[1], "--espv") != 0) throw std::runtime_error("--espv 21|22");
    level = ParseLevel(argv[2]);
    argc -= 2;
    argv += 2;
  }
  const std::string mode = argc > 1 ? argv[1] : "--help";
  if (mode == "--step" && argc == 4) return StepMode(argv[2], argv[3], level);
  if (mode == "--disasm" && argc == 2) return DisassembleMode(level);
  if (mode == "--parameters") {
    std::string json;
    for (const auto& [name, value] : Parameters().All()) {
      char text[80];
      snprintf(text, sizeof text, "%s\"%s\": %.10g", json.empty() ? "" : ", ", name.c_str(), value);
      json += text;
    }
    printf("{%s}\n", json.c_str());
    return 0;
  }
  if (mode == "--parameter-table") {
    printf("%s\n", ParameterTableJson().c_str());
    return 0;
  }
  if (mode == "--help") {
    fputs(kUsage, stdout);
    return 0;
  }
  return Simulate(ParseOptions(argc, argv));
}

}  // namespace
}  // namespace p4

int main(int argc, char** argv) {
  try {
    return p4::Main(argc, argv);
  } catch (const std::exception& error) {
    fprintf(stderr, "p4sim: %s\n%s", error.what(), p4::kUsage);
    return p4::kUsageError;
  }
}

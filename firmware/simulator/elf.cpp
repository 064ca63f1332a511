// Loads a 32-bit little-endian RISC-V ELF file straight to its addresses.
#include <elf.h>

#include <algorithm>
#include <fstream>
#include <iterator>

#include "machine.h"

namespace p4 {
namespace {

class Image {
 public:
  explicit Image(const std::string& path) : path_(path) {
    std::ifstream file(path, std::ios::binary);
    if (!file) throw std::runtime_error(path + ": cannot be read");
    bytes_.assign(std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>());
  }
  template <class T>
  T At(size_t offset) const {
    T value;
    memcpy(&value, Range(offset, sizeof(T)), sizeof(T));
    return value;
  }
  const char* Range(size_t offset, size_t size) const {
    if (offset > bytes_.size() || size > bytes_.size() - offset) {
      throw std::runtime_error(path_ + ": truncated ELF file");
    }
    return bytes_.data() + offset;
  }
  std::string Text(size_t offset) const {
    std::string text;
    while (*Range(offset, 1) != 0) text += *Range(offset++, 1);
    return text;
  }

 private:
  std::string path_;
  std::vector<char> bytes_;
};

void LoadSegments(Machine& machine, const Image& image, const Elf32_Ehdr& header,
                  const std::string& path) {
  for (int i = 0; i < header.e_phnum; ++i) {
    const auto segment =
        image.At<Elf32_Phdr>(header.e_phoff + size_t{header.e_phentsize} * static_cast<size_t>(i));
    if (segment.p_type != PT_LOAD || segment.p_memsz == 0) continue;
    uint8_t* host = machine.Translate(segment.p_vaddr, false);
    const uint8_t* last = machine.Translate(segment.p_vaddr + segment.p_memsz - 1, false);
    if (segment.p_filesz > segment.p_memsz) throw std::runtime_error(path + ": broken segment");
    if (host == nullptr || last != host + (segment.p_memsz - 1)) {
      char text[96];
      snprintf(text, sizeof text, ": segment 0x%08x + 0x%x is outside memory", segment.p_vaddr,
               segment.p_memsz);
      throw std::runtime_error(path + text);
    }
    memset(host, 0, segment.p_memsz);
    memcpy(host, image.Range(segment.p_offset, segment.p_filesz), segment.p_filesz);
  }
}

void LoadSymbols(Machine& machine, const Image& image, const Elf32_Ehdr& header) {
  const auto section = [&](uint32_t index) {
    return image.At<Elf32_Shdr>(header.e_shoff + size_t{header.e_shentsize} * index);
  };
  std::vector<FunctionProfile> found;
  for (uint32_t i = 0; i < header.e_shnum; ++i) {
    const Elf32_Shdr table = section(i);
    if (table.sh_type != SHT_SYMTAB || table.sh_link >= header.e_shnum) continue;
    const Elf32_Shdr names = section(table.sh_link);
    for (uint32_t at = 0; at + sizeof(Elf32_Sym) <= table.sh_size; at += sizeof(Elf32_Sym)) {
      const auto symbol = image.At<Elf32_Sym>(table.sh_offset + at);
      const int type = ELF32_ST_TYPE(symbol.st_info);
      if ((type != STT_FUNC && type != STT_NOTYPE) || symbol.st_shndx == SHN_UNDEF ||
          symbol.st_shndx >= header.e_shnum) {
        continue;
      }
      if ((section(symbol.st_shndx).sh_flags & SHF_EXECINSTR) == 0) continue;
      const std::string name = image.Text(names.sh_offset + symbol.st_name);
      // Labels inside assembly functions stay out of the way: only global ones and functions count.
      if (name.empty() || name[0] == '.' || name[0] == '$') continue;
      if (type == STT_NOTYPE && ELF32_ST_BIND(symbol.st_info) == STB_LOCAL) continue;
      found.push_back({name, symbol.st_value, symbol.st_value + symbol.st_size, 0, 0, 0, 0});
    }
  }
  std::stable_sort(found.begin(), found.end(),
                   [](const auto& a, const auto& b) { return a.start < b.start; });
  found.erase(std::unique(found.begin(), found.end(),
                          [](const auto& a, const auto& b) { return a.start == b.start; }),
              found.end());
  for (size_t i = 0; i < found.size(); ++i) {
    if (found[i].end == found[i].start) {
      found[i].end = i + 1 < found.size() ? found[i + 1].start : found[i].start + 4096;
    }
  }
  const FunctionProfile rest = machine.functions.back();
  machine.functions = std::move(found);
  machine.functions.push_back(rest);
}

// Little-endian base 128.
uint32_t Uleb(const Image& image, size_t& at) {
  uint32_t value = 0;
  for (uint32_t shift = 0; shift < 32; shift += 7) {
    const auto byte = image.At<uint8_t>(at++);
    value |= static_cast<uint32_t>(byte & 0x7F) << shift;
    if ((byte & 0x80) == 0) break;
  }
  return value;
}

// Tag_RISCV_arch of .riscv.attributes; empty where there is none.
std::string Architecture(const Image& image, const Elf32_Shdr& section) {
  constexpr uint32_t kFileTag = 1, kArchTag = 5;
  const size_t end = section.sh_offset + section.sh_size;
  if (section.sh_size < 5 || image.At<char>(section.sh_offset) != 'A') return {};
  size_t at = section.sh_offset + 5;  // format, length of the vendor's part
  if (image.Text(at) != "riscv") return {};
  at += sizeof "riscv";
  if (Uleb(image, at) != kFileTag) return {};
  at += 4;
  while (at < end) {
    const uint32_t tag = Uleb(image, at);
    if (tag % 2 == 0) {
      Uleb(image, at);
      continue;
    }
    const std::string text = image.Text(at);
    if (tag == kArchTag) return text;
    at += text.size() + 1;
  }
  return {};
}

// Level of the extension string's vector unit; 0 where it names none.
int LevelOfArchitecture(const std::string& text, const std::string& path) {
  for (size_t at = 0; at < text.size();) {
    const size_t next = std::min(text.find('_', at), text.size());
    const std::string name = text.substr(at, next - at);
    at = next + 1;
    if (name.rfind("xesppie", 0) == 0 || name.rfind("xespv2p1", 0) == 0) return 21;
    if (name == "xespv" || name.rfind("xespv2p2", 0) == 0) return 22;
    if (name.rfind("xespv", 0) == 0) {
      throw std::runtime_error(path + ": built for " + name + ", a level that is not known");
    }
  }
  return 0;
}

// The instruction set level that the file names, by its attributes or else by a symbol; or 0.
int LevelOf(const Image& image, const Elf32_Ehdr& header, const std::string& path) {
  constexpr uint32_t kAttributes = 0x70000003;
  int by_symbol = 0;
  for (uint32_t i = 0; header.e_shoff != 0 && i < header.e_shnum; ++i) {
    const auto section = image.At<Elf32_Shdr>(header.e_shoff + size_t{header.e_shentsize} * i);
    if (section.sh_type == kAttributes) {
      const int level = LevelOfArchitecture(Architecture(image, section), path);
      if (level != 0) return level;
    }
    if (section.sh_type != SHT_SYMTAB || section.sh_link >= header.e_shnum) continue;
    const auto names =
        image.At<Elf32_Shdr>(header.e_shoff + size_t{header.e_shentsize} * section.sh_link);
    for (uint32_t at = 0; at + sizeof(Elf32_Sym) <= section.sh_size; at += sizeof(Elf32_Sym)) {
      const auto symbol = image.At<Elf32_Sym>(section.sh_offset + at);
      if (symbol.st_shndx != SHN_ABS || (symbol.st_value != 21 && symbol.st_value != 22)) continue;
      if (image.Text(names.sh_offset + symbol.st_name) == "espgen_espv") {
        by_symbol = static_cast<int>(symbol.st_value);
      }
    }
  }
  return by_symbol;
}

std::string VersionText(int level) {
  return std::to_string(level / 10) + "." + std::to_string(level % 10);
}

}  // namespace

void Machine::LoadElf(const std::string& path) {
  const Image image(path);
  const auto header = image.At<Elf32_Ehdr>(0);
  if (memcmp(header.e_ident, ELFMAG, SELFMAG) != 0 || header.e_ident[EI_CLASS] != ELFCLASS32 ||
      header.e_ident[EI_DATA] != ELFDATA2LSB || header.e_machine != EM_RISCV) {
    throw std::runtime_error(path + ": not a 32-bit RISC-V ELF file");
  }
  LoadSegments(*this, image, header, path);
  const int level = LevelOf(image, header, path);
  if (level != 0 && options.espv != 0 && level != options.espv) {
    throw std::runtime_error(path + ": holds instructions of ESPV " + VersionText(level) +
                             ", the chip has ESPV " + VersionText(options.espv));
  }
  if (level != 0) espv = level;
  if (header.e_shoff != 0) LoadSymbols(*this, image, header);
  entry = header.e_entry;
  cores[0].pc = entry;
}

FunctionProfile* Machine::ProfileOf(uint32_t pc) {
  auto place = std::upper_bound(functions.begin(), functions.end() - 1, pc,
                                [](uint32_t at, const FunctionProfile& f) { return at < f.start; });
  if (place != functions.begin() && pc < (place - 1)->end) return &*(place - 1);
  return &functions.back();
}

}  // namespace p4

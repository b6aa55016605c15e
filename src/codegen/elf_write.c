// Shared objects written without a linker: hosts that models are built on may have none.
//
//   headers | .hash .dynsym .dynstr | data | (a page further) code | (a page further) the dynamic section | section headers | seal
//
// Addresses are offsets in the file. Nothing in it is relocated when it is loaded.
#include <elf.h>

#include "codegen/codegen_impl.h"

enum { PAGE = 4096, DYNAMIC = 6, SECTIONS = 7 };
enum { SECTION_DYNSYM = 1, SECTION_DYNSTR, SECTION_DATA, SECTION_CODE, SECTION_DYNAMIC, SECTION_NAMES };
static const char section_names[] = "\0.dynsym\0.dynstr\0.rodata\0.text\0.dynamic\0.shstrtab";

typedef struct places {  // offsets in the file, which are addresses too
  uint64_t hash, symbols, strings, strings_n, data, data_end, code, code_end, dynamic, names, sections;
  uint64_t *piece;  // of each piece
} places;

static uint64_t up(uint64_t v, uint64_t align) { return (v + align - 1) & -align; }

// As the System V ABI has it.
static uint32_t elf_hash(const char *s) {
  uint32_t h = 0;
  for (; *s; s++) {
    h = (h << 4) + (unsigned char)*s;
    uint32_t g = h & 0xf0000000u;
    h = (h ^ g >> 24) & ~g;
  }
  return h;
}

static int segments_of(const places *p) { return p->code_end > p->code ? 5 : 4; }

// Pieces of one kind from `at` on; returns the end.
static uint64_t place_pieces(const ts__elf *e, bool code, uint64_t at, places *p) {
  for (size_t i = 0; i < e->pieces.n; i++) {
    if (e->pieces.p[i].code != code) continue;
    p->piece[i] = up(at, TS_MAX(e->pieces.p[i].align, 1));
    at = p->piece[i] + e->pieces.p[i].n;
  }
  return at;
}

static void place(const ts__elf *e, places *p) {
  size_t n = e->symbols.n;
  p->hash = sizeof(Elf64_Ehdr) + 5 * sizeof(Elf64_Phdr);
  p->symbols = up(p->hash + (2 + 2 * (n + 1)) * sizeof(uint32_t), 8);
  p->strings = p->symbols + (n + 1) * sizeof(Elf64_Sym);
  p->strings_n = 1;
  for (size_t i = 0; i < n; i++) p->strings_n += strlen(e->symbols.p[i].name) + 1;
  p->data = p->strings + p->strings_n;
  p->data_end = place_pieces(e, false, p->data, p);
  p->code = up(p->data_end, PAGE);
  p->code_end = place_pieces(e, true, p->code, p);
  p->dynamic = up(p->code_end, PAGE);
  p->names = p->dynamic + DYNAMIC * sizeof(Elf64_Dyn);
  p->sections = up(p->names + sizeof section_names, 8);
}

static void put_segments(uint8_t *f, const places *p) {
  const uint64_t n = DYNAMIC * sizeof(Elf64_Dyn), code = p->code_end - p->code;
  const Elf64_Phdr segments[] = {
      {.p_type = PT_LOAD, .p_flags = PF_R, .p_filesz = p->data_end, .p_memsz = p->data_end, .p_align = PAGE},
      {.p_type = PT_LOAD, .p_flags = PF_R | PF_W, .p_offset = p->dynamic, .p_vaddr = p->dynamic, .p_paddr = p->dynamic, .p_filesz = n, .p_memsz = n, .p_align = PAGE},
      {.p_type = PT_DYNAMIC, .p_flags = PF_R | PF_W, .p_offset = p->dynamic, .p_vaddr = p->dynamic, .p_paddr = p->dynamic, .p_filesz = n, .p_memsz = n, .p_align = 8},
      {.p_type = PT_GNU_STACK, .p_flags = PF_R | PF_W, .p_align = 16},
  };
  const Elf64_Phdr text = {.p_type = PT_LOAD, .p_flags = PF_R | PF_X, .p_offset = p->code, .p_vaddr = p->code, .p_paddr = p->code, .p_filesz = code, .p_memsz = code, .p_align = PAGE};
  uint8_t *at = f + sizeof(Elf64_Ehdr);
  memcpy(at, segments, sizeof *segments);  // in the order of addresses, as loaders want them
  at += sizeof *segments;
  if (code) memcpy(at, &text, sizeof text), at += sizeof text;
  memcpy(at, segments + 1, sizeof segments - sizeof *segments);
}

static void put_headers(uint8_t *f, const places *p) {
  const Elf64_Ehdr h = {.e_ident = {0x7f, 'E', 'L', 'F', ELFCLASS64, ELFDATA2LSB, EV_CURRENT}, .e_type = ET_DYN, .e_machine = EM_X86_64, .e_version = EV_CURRENT,
                        .e_phoff = sizeof h, .e_shoff = p->sections, .e_ehsize = sizeof h, .e_phentsize = sizeof(Elf64_Phdr), .e_phnum = (Elf64_Half)segments_of(p),
                        .e_shentsize = sizeof(Elf64_Shdr), .e_shnum = SECTIONS, .e_shstrndx = SECTION_NAMES};
  const Elf64_Dyn dynamic[DYNAMIC] = {
      {.d_tag = DT_HASH, .d_un.d_ptr = p->hash}, {.d_tag = DT_SYMTAB, .d_un.d_ptr = p->symbols}, {.d_tag = DT_STRTAB, .d_un.d_ptr = p->strings},
      {.d_tag = DT_STRSZ, .d_un.d_val = p->strings_n}, {.d_tag = DT_SYMENT, .d_un.d_val = sizeof(Elf64_Sym)}, {.d_tag = DT_NULL},
  };
  memcpy(f, &h, sizeof h);
  put_segments(f, p);
  memcpy(f + p->dynamic, dynamic, sizeof dynamic);
}

// For debuggers and profilers; the loader does not look at them.
static void put_sections(uint8_t *f, const places *p) {
  const Elf64_Shdr sections[SECTIONS] = {
      [SECTION_DYNSYM] = {.sh_name = 1, .sh_type = SHT_DYNSYM, .sh_flags = SHF_ALLOC, .sh_addr = p->symbols, .sh_offset = p->symbols, .sh_size = p->strings - p->symbols,
                          .sh_link = SECTION_DYNSTR, .sh_info = 1, .sh_addralign = 8, .sh_entsize = sizeof(Elf64_Sym)},
      [SECTION_DYNSTR] = {.sh_name = 9, .sh_type = SHT_STRTAB, .sh_flags = SHF_ALLOC, .sh_addr = p->strings, .sh_offset = p->strings, .sh_size = p->strings_n, .sh_addralign = 1},
      [SECTION_DATA] = {.sh_name = 17, .sh_type = SHT_PROGBITS, .sh_flags = SHF_ALLOC, .sh_addr = p->data, .sh_offset = p->data, .sh_size = p->data_end - p->data, .sh_addralign = 1},
      [SECTION_CODE] = {.sh_name = 25, .sh_type = SHT_PROGBITS, .sh_flags = SHF_ALLOC | SHF_EXECINSTR, .sh_addr = p->code, .sh_offset = p->code,
                        .sh_size = p->code_end - p->code, .sh_addralign = 16},
      [SECTION_DYNAMIC] = {.sh_name = 31, .sh_type = SHT_DYNAMIC, .sh_flags = SHF_ALLOC | SHF_WRITE, .sh_addr = p->dynamic, .sh_offset = p->dynamic,
                           .sh_size = DYNAMIC * sizeof(Elf64_Dyn), .sh_link = SECTION_DYNSTR, .sh_addralign = 8, .sh_entsize = sizeof(Elf64_Dyn)},
      [SECTION_NAMES] = {.sh_name = 40, .sh_type = SHT_STRTAB, .sh_offset = p->names, .sh_size = sizeof section_names, .sh_addralign = 1},
  };
  memcpy(f + p->names, section_names, sizeof section_names);
  memcpy(f + p->sections, sections, sizeof sections);
}

// One bucket a symbol; chains link those of one bucket.
static void put_symbols(uint8_t *f, const places *p, const ts__elf *e) {
  size_t n = e->symbols.n;
  uint32_t *hash = (uint32_t *)(void *)(f + p->hash), *bucket = hash + 2, *chain = bucket + n;
  Elf64_Sym *symbols = (Elf64_Sym *)(void *)(f + p->symbols);
  uint64_t at = 1;
  hash[0] = (uint32_t)n;
  hash[1] = (uint32_t)n + 1;
  for (size_t i = 0; i < n; i++) {
    const ts__elf_symbol *s = &e->symbols.p[i];
    bool code = e->pieces.p[s->piece].code;
    uint32_t k = elf_hash(s->name) % (uint32_t)n;
    chain[i + 1] = bucket[k];
    bucket[k] = (uint32_t)i + 1;
    symbols[i + 1] = (Elf64_Sym){.st_name = (uint32_t)at, .st_info = ELF64_ST_INFO(STB_GLOBAL, code ? STT_FUNC : STT_OBJECT), .st_shndx = code ? SECTION_CODE : SECTION_DATA,
                                 .st_value = p->piece[s->piece] + s->at, .st_size = s->n};
    memcpy(f + p->strings + at, s->name, strlen(s->name) + 1);
    at += strlen(s->name) + 1;
  }
}

// 32 bits at each: how far what it names is from there.
static void put_distances(uint8_t *f, const places *p, const ts__elf *e) {
  for (size_t i = 0; i < e->distances.n; i++) {
    const ts__elf_distance *x = &e->distances.p[i];
    uint64_t from = p->piece[x->piece] + x->at;
    uint32_t v = (uint32_t)(p->piece[x->to] + (uint64_t)x->to_at - from);
    memcpy(f + from, &v, sizeof v);
  }
}

bool ts__elf_write(const char *path, const ts__elf *e, ts_diag *d) {
  ts_arena *a = ts_arena_new("shared object");
  places p = {.piece = ts_new_array(a, uint64_t, e->pieces.n + 1)};
  place(e, &p);
  if (p.code_end > INT32_MAX && e->distances.n) {
    ts_arena_free(a);
    return ts_refuse(d, "library-size", "%s: code and data of %llu bytes cannot reach one another", path, (unsigned long long)p.code_end);
  }
  uint64_t bytes = p.sections + SECTIONS * sizeof(Elf64_Shdr);
  uint8_t *f = ts_arena_alloc(a, bytes + TS_SEAL_BYTES, 16);
  memset(f, 0, bytes);
  put_headers(f, &p);
  put_sections(f, &p);
  put_symbols(f, &p, e);
  for (size_t i = 0; i < e->pieces.n; i++) memcpy(f + p.piece[i], e->pieces.p[i].p, e->pieces.p[i].n);
  put_distances(f, &p, e);
  ts_seal(f, bytes);
  bool ok = ts_file_write(path, f, bytes + TS_SEAL_BYTES, d);
  ts_arena_free(a);
  return ok;
}

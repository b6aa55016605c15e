// A shared object that holds data only, written without a linker: hosts of GPU models may have none.
//
//   headers | .hash .dynsym .dynstr | the data | (a page further) the dynamic section
#include <elf.h>

#include "codegen/codegen_impl.h"

enum { DATA_ALIGN = 64, PAGE = 4096, SEGMENTS = 4, DYNAMIC = 6 };

typedef struct places {  // offsets in the file, which are addresses too
  uint64_t hash, symbols, strings, strings_n, end, dynamic;
  uint64_t *data;  // of each symbol
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

static void place(const ts__elf_symbol *s, size_t n, places *p) {
  p->hash = sizeof(Elf64_Ehdr) + SEGMENTS * sizeof(Elf64_Phdr);
  p->symbols = up(p->hash + (2 + 2 * (n + 1)) * sizeof(uint32_t), 8);
  p->strings = p->symbols + (n + 1) * sizeof(Elf64_Sym);
  p->strings_n = 1;
  for (size_t i = 0; i < n; i++) p->strings_n += strlen(s[i].name) + 1;
  p->end = p->strings + p->strings_n;
  for (size_t i = 0; i < n; i++) {
    p->data[i] = up(p->end, DATA_ALIGN);
    p->end = p->data[i] + s[i].n;
  }
  p->dynamic = up(p->end, PAGE);
}

static void put_headers(uint8_t *f, const places *p) {
  Elf64_Ehdr h = {.e_ident = {0x7f, 'E', 'L', 'F', ELFCLASS64, ELFDATA2LSB, EV_CURRENT}, .e_type = ET_DYN, .e_machine = EM_X86_64, .e_version = EV_CURRENT,
                  .e_phoff = sizeof h, .e_ehsize = sizeof h, .e_phentsize = sizeof(Elf64_Phdr), .e_phnum = SEGMENTS, .e_shentsize = sizeof(Elf64_Shdr)};
  const uint64_t n = DYNAMIC * sizeof(Elf64_Dyn);
  const Elf64_Phdr segments[SEGMENTS] = {
      {.p_type = PT_LOAD, .p_flags = PF_R, .p_filesz = p->end, .p_memsz = p->end, .p_align = PAGE},
      {.p_type = PT_LOAD, .p_flags = PF_R | PF_W, .p_offset = p->dynamic, .p_vaddr = p->dynamic, .p_paddr = p->dynamic, .p_filesz = n, .p_memsz = n, .p_align = PAGE},
      {.p_type = PT_DYNAMIC, .p_flags = PF_R | PF_W, .p_offset = p->dynamic, .p_vaddr = p->dynamic, .p_paddr = p->dynamic, .p_filesz = n, .p_memsz = n, .p_align = 8},
      {.p_type = PT_GNU_STACK, .p_flags = PF_R | PF_W, .p_align = 16},
  };
  const Elf64_Dyn dynamic[DYNAMIC] = {
      {.d_tag = DT_HASH, .d_un.d_ptr = p->hash}, {.d_tag = DT_SYMTAB, .d_un.d_ptr = p->symbols}, {.d_tag = DT_STRTAB, .d_un.d_ptr = p->strings},
      {.d_tag = DT_STRSZ, .d_un.d_val = p->strings_n}, {.d_tag = DT_SYMENT, .d_un.d_val = sizeof(Elf64_Sym)}, {.d_tag = DT_NULL},
  };
  memcpy(f, &h, sizeof h);
  memcpy(f + sizeof h, segments, sizeof segments);
  memcpy(f + p->dynamic, dynamic, sizeof dynamic);
}

// One bucket a symbol; chains link those of one bucket.
static void put_symbols(uint8_t *f, const places *p, const ts__elf_symbol *s, size_t n) {
  uint32_t *hash = (uint32_t *)(void *)(f + p->hash), *bucket = hash + 2, *chain = bucket + n;
  Elf64_Sym *symbols = (Elf64_Sym *)(void *)(f + p->symbols);
  uint64_t at = 1;
  hash[0] = (uint32_t)n;
  hash[1] = (uint32_t)n + 1;
  for (size_t i = 0; i < n; i++) {
    uint32_t k = elf_hash(s[i].name) % (uint32_t)n;
    chain[i + 1] = bucket[k];
    bucket[k] = (uint32_t)i + 1;
    symbols[i + 1] = (Elf64_Sym){.st_name = (uint32_t)at, .st_info = ELF64_ST_INFO(STB_GLOBAL, STT_OBJECT), .st_shndx = 1, .st_value = p->data[i], .st_size = s[i].n};
    memcpy(f + p->strings + at, s[i].name, strlen(s[i].name) + 1);
    at += strlen(s[i].name) + 1;
    memcpy(f + p->data[i], s[i].p, s[i].n);
  }
}

bool ts__elf_data(const char *path, const ts__elf_symbol *s, size_t n, ts_diag *d) {
  ts_arena *a = ts_arena_new("shared object");
  places p = {.data = ts_new_array(a, uint64_t, n)};
  place(s, n, &p);
  uint64_t bytes = p.dynamic + DYNAMIC * sizeof(Elf64_Dyn);
  uint8_t *f = ts_arena_alloc(a, bytes, 16);
  memset(f, 0, bytes);
  put_headers(f, &p);
  put_symbols(f, &p, s, n);
  bool ok = ts_file_write(path, f, bytes, d);
  ts_arena_free(a);
  return ok;
}

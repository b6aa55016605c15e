// Objects of compiled kernels taken apart, for a shared object that needs no linker. Kernels call nothing by name: their code and constants refer to one
// another by distance alone. What has more (imported symbols, data that is written, addresses) is left to a linker.
#include <elf.h>

#include "codegen/codegen_impl.h"

typedef struct object {
  ts_arena *a;
  ts__elf *e;
  const uint8_t *p;
  size_t n;
  const Elf64_Shdr *section;
  size_t nsections;
  size_t *piece;  // of each section; SIZE_MAX: none
  const Elf64_Sym *symbol;
  size_t nsymbols;
  const char *names;
  size_t names_n;
} object;

// Bytes [at, at + n) are there, and at is a multiple of align.
static bool within(const object *o, uint64_t at, uint64_t n, uint64_t align) { return at <= o->n && n <= o->n - at && at % align == 0; }

static bool read_header(object *o) {
  const Elf64_Ehdr *h = (const void *)o->p;
  if (o->n < sizeof *h || memcmp(h->e_ident, ELFMAG, SELFMAG) != 0 || h->e_ident[EI_CLASS] != ELFCLASS64 || h->e_ident[EI_DATA] != ELFDATA2LSB) return false;
  if (h->e_type != ET_REL || h->e_machine != EM_X86_64 || h->e_shentsize != sizeof(Elf64_Shdr) || !h->e_shnum) return false;
  if (!within(o, h->e_shoff, (uint64_t)h->e_shnum * sizeof(Elf64_Shdr), 8)) return false;
  o->section = (const void *)(o->p + h->e_shoff);
  o->nsections = h->e_shnum;
  return true;
}

static bool read_symbols(object *o) {
  for (size_t i = 0; i < o->nsections; i++) {
    const Elf64_Shdr *s = &o->section[i], *t = s->sh_link < o->nsections ? &o->section[s->sh_link] : s;
    if (s->sh_type != SHT_SYMTAB) continue;
    if (o->symbol || t->sh_type != SHT_STRTAB || !within(o, s->sh_offset, s->sh_size, 8) || !within(o, t->sh_offset, t->sh_size, 1)) return false;
    o->symbol = (const void *)(o->p + s->sh_offset);
    o->nsymbols = s->sh_size / sizeof(Elf64_Sym);
    o->names = (const char *)o->p + t->sh_offset;
    o->names_n = t->sh_size;
  }
  return o->symbol && o->names_n && !o->names[o->names_n - 1];
}

// Sections that are in memory become pieces.
static bool read_pieces(object *o) {
  enum { MOST_ALIGN = 4096 };
  o->piece = ts_new_array(o->a, size_t, o->nsections);
  for (size_t i = 0; i < o->nsections; i++) {
    const Elf64_Shdr *s = &o->section[i];
    o->piece[i] = SIZE_MAX;
    if (!(s->sh_flags & SHF_ALLOC) || !s->sh_size) continue;
    uint64_t align = TS_MAX(s->sh_addralign, 1);
    if (s->sh_type != SHT_PROGBITS || (s->sh_flags & (SHF_WRITE | SHF_TLS)) || align > MOST_ALIGN || align & (align - 1) || !within(o, s->sh_offset, s->sh_size, 1)) return false;
    o->piece[i] = o->e->pieces.n;
    ts_vec_push(o->a, &o->e->pieces, ((ts__elf_piece){.p = o->p + s->sh_offset, .n = s->sh_size, .align = align, .code = s->sh_flags & SHF_EXECINSTR}));
  }
  return true;
}

// Where a symbol of this object is; false when it is elsewhere.
static bool find_symbol(const object *o, uint64_t i, size_t *piece, uint64_t *at) {
  if (i >= o->nsymbols) return false;
  const Elf64_Sym *s = &o->symbol[i];
  if (s->st_shndx >= o->nsections || o->piece[s->st_shndx] == SIZE_MAX || s->st_value > o->section[s->st_shndx].sh_size) return false;
  *piece = o->piece[s->st_shndx];
  *at = s->st_value;
  return true;
}

static bool read_relocations(object *o, const Elf64_Shdr *s) {
  if (s->sh_info >= o->nsections || !within(o, s->sh_offset, s->sh_size, 8)) return false;
  size_t piece = o->piece[s->sh_info];
  const Elf64_Rela *r = (const void *)(o->p + s->sh_offset);
  for (size_t i = 0; i < s->sh_size / sizeof *r && piece != SIZE_MAX; i++) {
    uint64_t type = ELF64_R_TYPE(r[i].r_info), size = o->section[s->sh_info].sh_size, at;
    ts__elf_distance x = {.piece = piece, .at = r[i].r_offset};
    if ((type != R_X86_64_PC32 && type != R_X86_64_PLT32) || size < 4 || r[i].r_offset > size - 4) return false;
    if (!find_symbol(o, ELF64_R_SYM(r[i].r_info), &x.to, &at)) return false;
    x.to_at = (int64_t)at + r[i].r_addend;
    ts_vec_push(o->a, &o->e->distances, x);
  }
  return true;
}

static bool read_names(object *o) {
  for (size_t i = 0; i < o->nsymbols; i++) {
    const Elf64_Sym *s = &o->symbol[i];
    ts__elf_symbol x = {.n = s->st_size};
    if (ELF64_ST_BIND(s->st_info) != STB_GLOBAL || ELF64_ST_VISIBILITY(s->st_other) != STV_DEFAULT || s->st_shndx == SHN_UNDEF) continue;
    if (s->st_name >= o->names_n || !find_symbol(o, i, &x.piece, &x.at)) return false;
    x.name = o->names + s->st_name;
    ts_vec_push(o->a, &o->e->symbols, x);
  }
  return true;
}

bool ts__elf_read(ts_arena *a, const void *bytes, size_t n, ts__elf *out) {
  object o = {.a = a, .e = out, .n = n, .p = ts_arena_alloc(a, n, 16)};
  memcpy((void *)o.p, bytes, n);
  if (!read_header(&o) || !read_symbols(&o) || !read_pieces(&o)) return false;
  for (size_t i = 0; i < o.nsections; i++) {
    if (o.section[i].sh_type == SHT_REL) return false;
    if (o.section[i].sh_type == SHT_RELA && !read_relocations(&o, &o.section[i])) return false;
  }
  return read_names(&o);
}

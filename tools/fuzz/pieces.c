/*
** fuzz/pieces.c - the stream buffer's search and split, as reader.c does them, against a naive model:
** however the bytes arrive, the pieces are the same, and none is over the limit unnoticed.
**
** Input: limit, number of separators, each one's length and bytes, seed of the arrivals; the rest is
** the stream.
*/
#include "base/buffer.h"
#include "net/search.h"

#include <stdlib.h>
#include <string.h>

#define SEPARATORS 4
#define LONGEST 5

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length);

typedef struct Separator {
  const char *bytes;
  size_t n;
} Separator;

typedef struct Input {
  const uint8_t *bytes;
  size_t length;
} Input;

static unsigned take(Input *in, unsigned below) {
  if (!in->length) return 0;
  in->length--;
  return *in->bytes++ % below;
}

static void check(bool holds) {
  if (!holds) abort();
}

/* The model: where the first piece of the stream ends, 0 when it has no separator. */
static size_t model_end(const char *stream, size_t length, const Separator *seps, int n, size_t *found) {
  for (size_t end = 1; end <= length; end++)
    for (int i = 0; i < n; i++)
      if (seps[i].n <= end && memcmp(stream + end - seps[i].n, seps[i].bytes, seps[i].n) == 0) {
        *found = seps[i].n;
        return end;
      }
  return 0;
}

static Search look(const Buffer *b, size_t searched, const Separator *seps, int n) {
  Search search = search_begin(buffer_bytes(b), buffer_length(b), searched);
  for (int i = 0; i < n; i++) search_for(&search, seps[i].bytes, seps[i].n);
  return search;
}

/* Some bytes arrive, 1 at least. */
static void arrive(Buffer *b, const Input *stream, size_t *arrived, unsigned *seed) {
  size_t left = stream->length - *arrived;
  *seed = *seed * 1103515245 + 12345;
  size_t n = 1 + (*seed >> 16) % (*seed >> 30 ? 4 : 64);
  if (n > left) n = left;
  if (*seed >> 15 & 1) {
    char *room = buffer_reserve(b, n + (*seed >> 20) % 100);
    check(room != NULL);
    memcpy(room, stream->bytes + *arrived, n);
    buffer_added(b, n);
  } else
    check(buffer_append(b, (const char *)stream->bytes + *arrived, n));
  *arrived += n;
}

/* The unread bytes are those of the stream. */
static void check_content(const Buffer *b, const Input *stream, size_t taken, size_t arrived) {
  check(buffer_length(b) == arrived - taken);
  check(memcmp(buffer_bytes(b), stream->bytes + taken, arrived - taken) == 0);
}

static void split(const Input *stream, const Separator *seps, int nseps, size_t limit, unsigned seed) {
  Buffer b = {.data = NULL};
  size_t taken = 0, arrived = 0, searched = 0;
  for (;;) {
    Search search = look(&b, searched, seps, nseps);
    size_t over = search_overrun(&search, limit), found = 0;
    size_t end = model_end((const char *)stream->bytes + taken, stream->length - taken, seps, nseps, &found);
    if (over) { /* nothing is lost, and the model sees no shorter piece */
      check(over <= buffer_length(&b) && (!end || end - found >= over));
      check_content(&b, stream, taken, arrived);
      buffer_consume(&b, over);
      taken += over;
      searched = 0;
    } else if (search.end) {
      check(search.end == end && search.found == found && end - found <= limit);
      check_content(&b, stream, taken, arrived);
      buffer_consume(&b, end);
      taken += end;
      searched = 0;
    } else {
      searched = search.length;
      if (arrived == stream->length) break;
      arrive(&b, stream, &arrived, &seed);
    }
  }
  size_t found;
  check(model_end((const char *)stream->bytes + taken, stream->length - taken, seps, nseps, &found) == 0);
  check_content(&b, stream, taken, arrived);
  buffer_free(&b);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length) {
  Input in = {bytes, length};
  Separator seps[SEPARATORS];
  size_t limit = 1 + take(&in, 40);
  int n = 1 + (int)take(&in, SEPARATORS);
  for (int i = 0; i < n; i++) {
    seps[i].n = 1 + take(&in, LONGEST);
    if (seps[i].n > in.length) return 0;
    seps[i].bytes = (const char *)in.bytes;
    in.bytes += seps[i].n;
    in.length -= seps[i].n;
  }
  unsigned seed = take(&in, 256) << 8 | take(&in, 256);
  if (in.length > 4096) in.length = 4096; /* the model is slow */
  split(&in, seps, n, limit, seed);
  return 0;
}

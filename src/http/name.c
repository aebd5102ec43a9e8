/*
** name.c - the fields whose names mean something to the grammar (head.h).
*/
#include "http/chars.h"
#include "http/head.h"

typedef struct Known {
  const char *name;
  HttpName is;
} Known;

/* By their lengths; NULL ends a list. */
static const Known N4[] = {
    {"host", NAME_HOST}, {"date", NAME_DATE}, {"from", NAME_SINGLE}, {NULL, 0}};
static const Known N5[] = {{"range", NAME_SINGLE + 1}, {NULL, 0}};
static const Known N6[] = {{"expect", NAME_EXPECT}, {NULL, 0}};
static const Known N7[] = {{"upgrade", NAME_UPGRADE}, {"referer", NAME_SINGLE + 2}, {NULL, 0}};
static const Known N8[] = {{"if-range", NAME_SINGLE + 3}, {NULL, 0}};
static const Known N10[] = {{"connection", NAME_CONNECTION},
                            {"user-agent", NAME_SINGLE + 4},
                            {"set-cookie", NAME_SET_COOKIE},
                            {NULL, 0}};
static const Known N12[] = {
    {"content-type", NAME_SINGLE + 5}, {"max-forwards", NAME_SINGLE + 6}, {NULL, 0}};
static const Known N13[] = {{"authorization", NAME_SINGLE + 7}, {NULL, 0}};
static const Known N14[] = {{"content-length", NAME_CONTENT_LENGTH}, {NULL, 0}};
static const Known N17[] = {{"transfer-encoding", NAME_TRANSFER_ENCODING},
                            {"if-modified-since", NAME_SINGLE + 8},
                            {NULL, 0}};
static const Known N19[] = {
    {"if-unmodified-since", NAME_SINGLE + 9}, {"proxy-authorization", NAME_SINGLE + 10}, {NULL, 0}};

static const Known *const BY_LENGTH[] = {
    [4] = N4,   [5] = N5,   [6] = N6,   [7] = N7,   [8] = N8,   [10] = N10,
    [12] = N12, [13] = N13, [14] = N14, [17] = N17, [19] = N19,
};

HttpName http_name(const char *name, size_t n) {
  const Known *k = n < sizeof BY_LENGTH / sizeof *BY_LENGTH ? BY_LENGTH[n] : NULL;
  for (; k && k->name; k++)
    if (http_lower(*name) == *k->name && http_same(name, n, k->name, n)) return k->is;
  return NAME_OTHER;
}

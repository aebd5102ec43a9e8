/*
** crew.c - base/crew.h, driven at random, for crew_spec.lua, which compiles it: chores that end at once and chores that
** hang until they are let go; added, left, forsaken; the crew closed in the middle. Each must be told of once, by `done`
** or by `lost`, unless it was taken back. Some add more when they are done, also while the inbox closes. Arguments: the first seed, how many. Exits with 1 where something is wrong.
*/
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <uv.h>

#include "base/crew.h"

#define PLACES 4
#define MOST 9
#define CHORES 60

typedef struct Piece {
  Chore chore;
  bool hangs, out, back, left, owed;
  atomic_int works, dones, losts;
} Piece;

static Piece pieces[CHORES];
static atomic_bool let_go, wrong;
static atomic_int working, most_working;
static unsigned state;

static unsigned below(unsigned n) {
  state = state * 1103515245u + 12345u;
  return (state >> 16) % n;
}

static void complain(const char *what) {
  if (!atomic_exchange(&wrong, true)) fprintf(stderr, "%s\n", what);
}

static Crew *the_crew;
static int rests;
static atomic_int rests_done, rests_over;

static void add_rest(void);

static Piece *piece_of(Chore *chore) { return asy_container(chore, Piece, chore); }

static void work(Chore *chore) {
  Piece *p = piece_of(chore);
  int n = atomic_fetch_add(&working, 1) + 1, most = atomic_load(&most_working);
  while (n > most && !atomic_compare_exchange_weak(&most_working, &most, n)) continue;
  atomic_fetch_add(&p->works, 1);
  while (p->hangs && !atomic_load(&let_go)) usleep(100);
  atomic_fetch_sub(&working, 1);
}

static void done(Chore *chore) {
  Piece *p = piece_of(chore);
  if (atomic_load(&p->works) != 1) complain("told of as done, and was not");
  if (!p->out) complain("told of, and is not out");
  p->out = false;
  atomic_fetch_add(&p->dones, 1);
  if (below(4) == 0) add_rest();
}

static void lost(Chore *chore) { atomic_fetch_add(&piece_of(chore)->losts, 1); }

/* Of a job with more to do, added when the first part is done, and nobody's from then on: frees itself. */
static void rest_work(Chore *chore) {
  (void)chore;
  atomic_fetch_add(&rests_done, 1);
}

static void rest_over(Chore *chore) {
  memset(chore, 0x5a, sizeof *chore);
  free(chore);
  atomic_fetch_add(&rests_over, 1);
}

static void add_rest(void) {
  Chore *chore = calloc(1, sizeof *chore);
  *chore = (Chore){.work = rest_work, .done = rest_over, .lost = rest_over};
  if (crew_add_forsaken(the_crew, chore, true))
    complain("no thread");
  else
    rests++;
}

static void on_wakeup(uv_async_t *async) { inbox_deliver(async->data); }

static int waited_for(void) {
  int n = 0;
  for (int i = 0; i < CHORES; i++) n += pieces[i].out && !pieces[i].left;
  return n;
}

static void act(Crew *crew, Piece *p) {
  switch (below(4)) {
  case 0:
    if (p->out || p->back || p->dones) return;
    p->out = true;
    p->left = below(4) == 0;
    p->owed = p->left && !p->hangs && below(2);
    if (p->left ? crew_add_forsaken(crew, &p->chore, p->owed) : crew_add(crew, &p->chore)) complain("no thread");
    break;
  case 1:
    if (!p->out || p->left) return;
    p->back = crew_leave(&p->chore);
    p->out = !p->back;
    p->left = true;
    break;
  case 2:
    if (!p->out || below(3)) return;
    p->left = true;
    p->owed = below(2);
    crew_forsake(&p->chore, p->owed && !p->hangs);
    break;
  default: break;
  }
}

/* Whether all that was handed over has been told of. */
static bool all_told(void) {
  for (int i = 0; i < CHORES; i++)
    if (pieces[i].out && !atomic_load(&pieces[i].losts)) return false;
  return true;
}

/* free: nothing hung, which may have had all places, when it was closed */
static void check(const Piece *p, bool free) {
  int told = p->dones + p->losts;
  bool was_out = p->out || p->dones;
  if (told != was_out) complain("not told of once");
  if (p->back && (p->works || told)) complain("taken back, and done all the same");
  if (p->works > 1) complain("done twice");
  if (free && p->owed && !p->hangs && was_out && !p->works) complain("owed, and not done");
}

static void round_of(unsigned seed) {
  uv_loop_t loop;
  uv_async_t async;
  int under_way = 0;
  state = seed;
  atomic_store(&let_go, false);
  for (int i = 0; i < CHORES; i++)
    pieces[i] = (Piece){.chore = {.work = work, .done = done, .lost = lost}, .hangs = below(4) == 0};
  uv_loop_init(&loop);
  uv_async_init(&loop, &async, on_wakeup);
  Inbox *inbox = inbox_new(&async);
  async.data = inbox;
  Crew *crew = the_crew = crew_new(inbox, &under_way, PLACES, MOST);
  rests = 0;
  atomic_store(&rests_done, 0);
  atomic_store(&rests_over, 0);
  for (unsigned i = 0, n = below(300); i < n; i++) {
    act(crew, &pieces[below(CHORES)]);
    if (below(8) == 0) uv_run(&loop, UV_RUN_NOWAIT);
    if (below(50) == 0) usleep(200);
    if (i == n / 2 && below(2)) atomic_store(&let_go, true);
    if (under_way != waited_for()) complain("another number is under way");
  }
  if (below(2)) {
    atomic_store(&let_go, true);
    for (int i = 0; i < 20000 && !all_told(); i++) {
      uv_run(&loop, UV_RUN_NOWAIT);
      usleep(100);
    }
    for (int k = 0; k < CHORES; k++)
      if (pieces[k].out) complain("never told of");
  }
  bool free = atomic_load(&let_go);
  inbox_close(inbox);
  crew_close(crew);
  inbox_unref(inbox);
  uv_close((uv_handle_t *)&async, NULL);
  uv_run(&loop, UV_RUN_DEFAULT);
  uv_loop_close(&loop);
  atomic_store(&let_go, true);
  for (int i = 0; i < 100000 && !all_told(); i++) usleep(100);
  for (int i = 0; i < CHORES; i++) check(&pieces[i], free);
  while (atomic_load(&working)) usleep(100);
  for (int i = 0; i < 100000 && atomic_load(&rests_over) < rests; i++) usleep(100);
  if (atomic_load(&rests_over) != rests) complain("a rest is left");
  if (free && atomic_load(&rests_done) != rests) complain("a rest is owed, and not done");
  if (atomic_load(&most_working) > MOST) complain("too many threads");
}

int main(int argc, char **argv) {
  unsigned first = argc > 1 ? (unsigned)atoi(argv[1]) : 1, n = argc > 2 ? (unsigned)atoi(argv[2]) : 100;
  for (unsigned seed = first; seed < first + n; seed++) {
    round_of(seed);
    if (!atomic_load(&wrong)) continue;
    fprintf(stderr, "seed %u\n", seed);
    return 1;
  }
  return 0;
}

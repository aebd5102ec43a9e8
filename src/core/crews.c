/*
** crews.c - a loop's crews, made when they are first needed.
*/
#include "core/loop.h"

#include <errno.h>

static const struct {
  int places, most;
} LIMITS[LOOP_CREWS] = {[CREW_LOOKUPS] = {16, 64}, [CREW_FILES] = {32, 64}};

static int find_crew(Loop *loop, LoopCrew which, Crew **crew) {
  Crew **place = &loop->crews[which];
  if (loop->crews_closed || loop->copied) return ECANCELED;
  if (!*place) *place = crew_new(loop->inbox, &loop->jobs, LIMITS[which].places, LIMITS[which].most);
  *crew = *place;
  return *crew ? 0 : ENOMEM;
}

int loop_add_chore(Loop *loop, LoopCrew which, Chore *chore) {
  Crew *crew;
  int status = find_crew(loop, which, &crew);
  return status ? status : crew_add(crew, chore);
}

int loop_add_forsaken(Loop *loop, LoopCrew which, Chore *chore, bool owed) {
  Crew *crew;
  int status = find_crew(loop, which, &crew);
  return status ? status : crew_add_forsaken(crew, chore, owed);
}

void loop_close_crews(Loop *loop) {
  loop->crews_closed = true;
  for (int i = 0; i < LOOP_CREWS; i++) {
    if (loop->crews[i]) crew_close(loop->crews[i]);
    loop->crews[i] = NULL;
  }
}

void loop_crews_in_child(const Loop *loop) {
  for (int i = 0; i < LOOP_CREWS; i++)
    if (loop->crews[i]) crew_in_child(loop->crews[i]);
}

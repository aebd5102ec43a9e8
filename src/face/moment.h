/*
** moment.h - LuaSocket's time: its clock and its two limits, and what a call does that has to wait.
**
** In a task a call suspends it; where no loop runs it blocks; anywhere else it raises. A call that never has to wait works
** everywhere.
*/
#ifndef ASY_MOMENT_H
#define ASY_MOMENT_H

#include "face/face.h"

ASY_HIDDEN

/* Seconds since 1970: the system's, or in a loop its own clock's, which has asked the system once. */
double face_time(const Runtime *rt);

/* What limits are measured with, ns. */
uint64_t face_now(const Runtime *rt);

/* `seconds` after a moment; a negative number is never. */
uint64_t face_after(uint64_t moment, double seconds);

typedef enum FaceWait {
  FACE_AGAIN, /* something has come: try again */
  FACE_LATE,  /* the time is up */
  FACE_PARKS  /* return asy_spot_park(L, p.task, ..., p.deadline, ...) */
} FaceWait;

typedef struct Patience {
  bool late; /* the caller's: its wait has ended for that, so there is no other */
  Task *task;
  uint64_t deadline;
} Patience;

/* A socket has nothing for a call that began at `since` (face_now). Raises where nothing can wait. */
FaceWait asy_face_wait(lua_State *L, FaceSocket *s, SpotWay way, uint64_t since, Patience *p);

/* The same for any descriptors: `blocks` waits for them where no loop runs, so many ns (TIMER_NEVER: for ever) at most;
** false: nothing has come. */
FaceWait asy_face_wait_until(lua_State *L, uint64_t deadline, bool (*blocks)(void *arg, uint64_t ns), void *arg,
                             Patience *p);

/* What a call counts that need not wait. The task that has to give way first, or NULL. */
Task *asy_face_spent(lua_State *L);

/* The functions gettime and sleep, the methods settimeout and gettimeout. */
int asy_face_gettime(lua_State *L);
int asy_face_sleep(lua_State *L);
int asy_face_settimeout(lua_State *L, FaceSocket *s);
int asy_face_gettimeout(lua_State *L, const FaceSocket *s);

ASY_HIDDEN_END

#endif

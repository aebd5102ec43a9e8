/*
** monitor.h - the process answers who looks on from outside: one unix socket, and a thread that serves it. C only.
**
** The loops that are looked at have a Desk each, by number. The thread never touches a loop: it posts to a desk what
** somebody asks, and passes on what the loop's thread answers there. So a client that takes nothing holds up nobody,
** and of one loop that computes the others are told all the same.
**
** The protocol: a client sends a line, "asyncio-monitor/1 WORD [NUMBER [NUMBER]]"; the answer is the line
** "asyncio-monitor/1 ok N" and N bytes, or "asyncio-monitor/1 error TEXT"; while a long answer
** is being written, "asyncio-monitor/1 wait" comes before that now and then. Then it may send another. WORD is `loops`
** (no numbers; a line "loop<TAB>NUMBER" for each), or one that a loop answers: then the first NUMBER is the loop's.
*/
#ifndef ASY_MONITOR_H
#define ASY_MONITOR_H

#include <stdatomic.h>

#include "base/buffer.h"
#include "base/inbox.h"
#include "base/list.h"

ASY_HIDDEN

typedef enum Ask {
  ASK_STATS, /* the loop's numbers */
  ASK_TOP, /* the same, and the busiest tasks, `argument` of them; the loop measures them from then on */
  ASK_TREE,  /* all tasks, what they wait for, and where */
  ASK_LEAKS, /* the tasks that can never wake */
  ASK_TRACE_HTML, /* what happens is written to `path`, a trace as a page; answered when that has begun */
  ASK_TRACE_JSON, /* likewise, in Trace Event Format */
  ASK_TRACED,     /* it is complete; answered when the file is there */
  ASK_REST        /* nobody asks for the busiest any more; not answered */
} Ask;

typedef enum DeskState { DESK_FREE, DESK_ASKED, DESK_ANSWERED } DeskState;

typedef struct Desk {
  ListNode link; /* in the monitor's */
  int number;    /* from 1 on */
  Inbox *inbox;  /* the loop's */
  void (*asked)(
      struct Desk *); /* on the loop's thread, from libuv: `ask` and `argument` are there */
  void (*destroy)(
      struct Desk *); /* on the loop's thread: it has left, and no message is on its way */
  Ask ask;
  uint32_t argument;
  char path[64];        /* of a trace's file */
  atomic_uint progress; /* of the answer: its loop turns */
  /* the monitor's own */
  Message message;
  DeskState state;
  bool posted; /* the message is on its way; the loop's thread alone takes that back */
  bool left;
  bool measures;   /* it has been asked for the busiest, and not to rest since */
  uint64_t client; /* who asked: the serial number */
  bool traces;     /* it has been asked for a trace, and not for its end since */
  bool failed;     /* the answer is an error, in words */
  Buffer answer;
} Desk;

#define MONITOR_PATH 108 /* room for a path */
#define MONITOR_WHY 1200 /* room for what was to be done, or is wrong; place.h's, too */

/* The desk is the loop's. Where there is no monitor yet one is made, with its socket at that path: "": where the
** command looks for it. 0, or an errno, and why. */
int monitor_join(Desk *desk, const char *path, char why[MONITOR_WHY]);

/* On the loop's thread. With the last desk the monitor ends: the socket is gone. */
void monitor_leave(Desk *desk);

/* On the loop's thread: the answer, which is taken over, to what was asked last. */
void monitor_answer(Desk *desk, Buffer *answer, bool ok);

/* The path of the process's socket; false: there is no monitor. */
bool monitor_path(char path[MONITOR_PATH]);

/* In a forked child, whose thread this isn't: forgets it. */
void monitor_in_child(void);

ASY_HIDDEN_END

#endif

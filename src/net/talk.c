/*
** talk.c - waiting for a request, or within one, for so long at most.
*/
#include "net/talk.h"

#include <errno.h>

#include <sys/socket.h>

#include "core/argument.h"
#include "core/error.h"
#include "net/handler.h"
#include "net/input.h"
#include "net/life.h"
#include "net/limit.h"
#include "net/peer.h"
#include "net/reader.h"
#include "open.h"

/* Whether something has come that nobody has taken. What comes through a filter need be nothing for its user: there
** only what has passed it counts. */
static bool has_come(const Stream *s) {
  char byte;
  int fd;
  ssize_t n;
  if (buffer_length(&s->in.buffer)) return true;
  if (s->filtered || s->carrier || uv_fileno(&s->uv.handle, &fd)) return false;
  do n = recv(fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT);
  while (n < 0 && errno == EINTR);
  return n > 0;
}

bool talk_waits(const Stream *s) {
  return s->client.between && s->in.reader && s->in.reader->phase == TASK_PARKED;
}

void talk_end(Stream *s) {
  if (!s->client.talks || (talk_waits(s) && !has_come(s)))
    input_end(s);
  else
    s->client.last = true;
}

/* stack: reader, n, seconds → reader, n */
static Stream *begin(lua_State *L) {
  Stream *s = asy_reader_check(L);
  lua_Number ns = luaL_checknumber(L, 3) * NS_PER_S;
  lua_settop(L, 2);
  if (s->handle.open && !limits_read_within(s, ns)) asy_nomemory(L);
  return s;
}

/* next_message(reader, n, seconds) → up to n bytes of the next request, as soon as there are any, or nil: the peer has
** ended, or its server is shut down. */
static int next_message(lua_State *L) {
  Stream *s = begin(L);
  const Server *sv = s->client.server;
  s->client.between = true;
  if (s->handle.open) s->client.since = stream_clock(s->handle.loop);
  if (s->client.last && sv && sv->over && !has_come(s)) input_end(s);
  return asy_reader_read(L);
}

/* read_within(reader, n, seconds) → likewise, of a request that has begun. */
static int read_within(lua_State *L) {
  begin(L)->client.between = false;
  return asy_reader_read(L);
}

/* is_last_message(reader) → whether its server is being shut down */
static int is_last_message(lua_State *L) {
  const Stream *s = asy_reader_check(L);
  lua_pushboolean(L, s->client.last || (s->client.server && s->client.server->ending));
  return 1;
}

/* Puts bytes before those that nobody has taken. False: no memory, and nothing has changed. */
static bool put_back(Stream *s, const char *bytes, size_t n) {
  Buffer *rest = &s->in.buffer, whole = {NULL, 0, 0, 0};
  if (!n) return true;
  if (!buffer_append(&whole, bytes, n) || !buffer_append(&whole, buffer_bytes(rest), buffer_length(rest))) {
    buffer_free(&whole);
    return false;
  }
  buffer_free(rest);
  *rest = whole;
  s->in.searched = 0;
  return true;
}

/* leave_talk(reader, bytes, seconds): what comes now is no talk. It begins with these bytes, which were read too early,
** and reads have so much time, or no limit. */
static int leave_talk(lua_State *L) {
  size_t n;
  Stream *s = asy_reader_check(L);
  const char *bytes = luaL_checklstring(L, 2, &n);
  lua_Number ns = luaL_optnumber(L, 3, 0) * NS_PER_S;
  if (!put_back(s, bytes, n)) asy_nomemory(L);
  s->client.talks = s->client.between = false;
  if (s->handle.open && !limits_read_within(s, ns)) asy_nomemory(L);
  if (s->client.last) input_end(s);
  return 0;
}

/* break_talk(reader): ends the connection in the middle of an answer, so that its client sees that */
static int break_talk(lua_State *L) {
  asy_stream_break(L, asy_reader_check(L));
  return 0;
}

/* own_peer_broke(error) → whether it is that the connection broke whose handler this is */
static int own_peer_broke(lua_State *L) {
  const Task *t = asy_current(L);
  luaL_checkany(L, 1);
  lua_pushboolean(L, asy_peer_broke(L, 1, t->number));
  return 1;
}

/* stack: module */
void asy_open_talk(lua_State *L) {
  static const luaL_Reg functions[] = {{"next_message", next_message},
                                       {"read_within", read_within},
                                       {"is_last_message", is_last_message},
                                       {"leave_talk", leave_talk},
                                       {"break_talk", break_talk},
                                       {"own_peer_broke", own_peer_broke},
                                       {NULL, NULL}};
  asy_setfuncs(L, functions);
}

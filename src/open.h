/*
** open.h - what luaopen calls: a file with functions for Lua has an opener, which adds them to the module's table
** on the top of the stack, and to the classes. The order is asyncio.c's.
*/
#ifndef ASY_OPEN_H
#define ASY_OPEN_H

#include "base/asy.h"

ASY_HIDDEN

void asy_open_error(lua_State *L); /* core/errorclass.c */
void asy_open_pcall(lua_State *L); /* core/pcall.c */
void asy_open_argument(lua_State *L); /* core/argument.c */
void asy_open_options(lua_State *L); /* core/optionsclass.c */
void asy_open_trace(lua_State *L); /* core/trace.c */
void asy_open_words(lua_State *L); /* core/words.c */
void asy_open_kind(lua_State *L); /* core/kind.c */

void asy_open_codec(lua_State *L); /* thread/codec.c */

void asy_open_loop(lua_State *L); /* core/loopclass.c */
void asy_open_hosted(lua_State *L); /* core/hosted.c */
void asy_open_stats(lua_State *L); /* core/stats.c */
void asy_open_report(lua_State *L); /* core/report.c */
void asy_open_context(lua_State *L); /* core/context.c */
void asy_open_callback(lua_State *L); /* core/callback.c */
void asy_open_future(lua_State *L); /* core/future.c */
void asy_open_extras(lua_State *L); /* core/extras.c */
void asy_open_park(lua_State *L); /* core/park.c */
void asy_open_task(lua_State *L); /* core/spawn.c */
void asy_open_task_class(lua_State *L); /* core/taskclass.c */
void asy_open_shield(lua_State *L); /* core/shield.c */
void asy_open_shield_class(lua_State *L); /* core/shieldclass.c */
void asy_open_timeout(lua_State *L); /* core/timeout.c */
void asy_open_coro(lua_State *L); /* core/coro.c */
void asy_open_await(lua_State *L); /* core/await.c */
void asy_open_ring(lua_State *L); /* core/ring.c */
void asy_open_several(lua_State *L); /* core/several.c */
void asy_open_group(lua_State *L); /* core/group.c */
void asy_open_stop(lua_State *L); /* core/stop.c */
void asy_open_completed(lua_State *L); /* core/completed.c */
void asy_open_answer(lua_State *L); /* core/answer.c */
void asy_open_hope(lua_State *L); /* core/hope.c */

void asy_open_lock(lua_State *L); /* sync/lock.c */
void asy_open_event(lua_State *L); /* sync/event.c */
void asy_open_condition(lua_State *L); /* sync/condition.c */
void asy_open_semaphore(lua_State *L); /* sync/semaphore.c */
void asy_open_barrier(lua_State *L); /* sync/barrier.c */
void asy_open_queue(lua_State *L); /* sync/queue.c */
void asy_open_pool(lua_State *L); /* sync/pool.c */

void asy_open_address(lua_State *L); /* net/address.c */
void asy_open_resolve(lua_State *L); /* net/resolve.c */
void asy_open_stream(lua_State *L); /* net/life.c */
void asy_open_peer(lua_State *L); /* net/peer.c */
void asy_open_socket(lua_State *L); /* net/socket.c */
void asy_open_reader(lua_State *L); /* net/reader.c */
void asy_open_writer(lua_State *L); /* net/writer.c */
void asy_open_talk(lua_State *L); /* net/talk.c */
void asy_open_messages(lua_State *L); /* net/messages.c */
void asy_open_copy(lua_State *L); /* net/copy.c */
void asy_open_detach(lua_State *L); /* net/detach.c */
void asy_open_connect(lua_State *L); /* net/connect.c */
void asy_open_feed(lua_State *L); /* net/feed.c */
void asy_open_pair(lua_State *L); /* net/pair.c */
void asy_open_shake(lua_State *L); /* net/shake.c */
void asy_open_endpoint(lua_State *L); /* net/endpointclass.c */
void asy_open_endpoint_send(lua_State *L); /* net/endpointsend.c */

void asy_open_standard(lua_State *L); /* os/standard.c */
void asy_open_openfd(lua_State *L); /* os/openfd.c */
void asy_open_subprocess(lua_State *L); /* os/subprocess.c */
void asy_open_file(lua_State *L); /* files/fileclass.c */
void asy_open_fs(lua_State *L); /* files/fs.c */
void asy_open_fswatch(lua_State *L); /* files/watchclass.c */

void asy_open_handler(lua_State *L); /* net/handler.c */
void asy_open_shutdown(lua_State *L); /* net/shutdown.c */
void asy_open_server(lua_State *L); /* net/server.c */

void asy_open_poll(lua_State *L); /* os/descriptor.c */
void asy_open_signal(lua_State *L); /* os/signal.c */

void asy_open_testing(lua_State *L); /* dev/testing.c */
void asy_open_stuck(lua_State *L); /* dev/stuck.c */

void asy_open_executor(lua_State *L); /* thread/executor.c */
void asy_open_inside(lua_State *L); /* thread/inside.c */
void asy_open_channel(lua_State *L); /* thread/channel.c */
void asy_open_remote(lua_State *L); /* thread/remote.c */

void asy_open_watch(lua_State *L); /* core/watch.c */

void asy_open_graph(lua_State *L); /* dev/graph.c */
void asy_open_tracer(lua_State *L); /* dev/traceclass.c */
void asy_open_monitor(lua_State *L); /* dev/monitorclass.c */

void asy_open_face(lua_State *L); /* face/module.c */

void asy_open_sec(lua_State *L); /* sec/module.c; of asyncio.openssl */

void asy_open_resp(lua_State *L); /* parse/resp.c; of asyncio.grammar */

ASY_HIDDEN_END

#endif

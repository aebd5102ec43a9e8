build-asan2/asyncio.o: src/asyncio.c src/asy.h \
  /usr/include/lua5.4/lauxlib.h /usr/include/lua5.4/luaconf.h \
  /usr/include/lua5.4/lua.h src/address.h src/await.h src/task.h \
  src/future.h src/loop.h src/inbox.h src/list.h src/timer.h \
  src/callback.h src/connect.h src/stream.h src/buffer.h src/handle.h \
  src/waitq.h src/coro.h src/error.h src/lock.h src/poll.h src/report.h \
  src/resolve.h src/server.h src/signal.h src/sync.h

src/asy.h:

/usr/include/lua5.4/lauxlib.h:

/usr/include/lua5.4/luaconf.h:

/usr/include/lua5.4/lua.h:

src/address.h:

src/await.h:

src/task.h:

src/future.h:

src/loop.h:

src/inbox.h:

src/list.h:

src/timer.h:

src/callback.h:

src/connect.h:

src/stream.h:

src/buffer.h:

src/handle.h:

src/waitq.h:

src/coro.h:

src/error.h:

src/lock.h:

src/poll.h:

src/report.h:

src/resolve.h:

src/server.h:

src/signal.h:

src/sync.h:

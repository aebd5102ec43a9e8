build-asan2/server.o: src/server.c src/server.h src/stream.h src/buffer.h \
  src/asy.h /usr/include/lua5.4/lauxlib.h /usr/include/lua5.4/luaconf.h \
  /usr/include/lua5.4/lua.h src/handle.h src/loop.h src/inbox.h \
  src/list.h src/timer.h src/waitq.h src/task.h src/future.h \
  src/address.h src/error.h src/report.h

src/server.h:

src/stream.h:

src/buffer.h:

src/asy.h:

/usr/include/lua5.4/lauxlib.h:

/usr/include/lua5.4/luaconf.h:

/usr/include/lua5.4/lua.h:

src/handle.h:

src/loop.h:

src/inbox.h:

src/list.h:

src/timer.h:

src/waitq.h:

src/task.h:

src/future.h:

src/address.h:

src/error.h:

src/report.h:

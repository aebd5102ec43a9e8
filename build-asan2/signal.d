build-asan2/signal.o: src/signal.c src/signal.h src/loop.h src/asy.h \
  /usr/include/lua5.4/lauxlib.h /usr/include/lua5.4/luaconf.h \
  /usr/include/lua5.4/lua.h src/inbox.h src/list.h src/timer.h \
  src/callback.h src/error.h src/handle.h src/task.h src/future.h

src/signal.h:

src/loop.h:

src/asy.h:

/usr/include/lua5.4/lauxlib.h:

/usr/include/lua5.4/luaconf.h:

/usr/include/lua5.4/lua.h:

src/inbox.h:

src/list.h:

src/timer.h:

src/callback.h:

src/error.h:

src/handle.h:

src/task.h:

src/future.h:

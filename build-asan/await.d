build-asan/await.o: src/await.c src/await.h src/task.h src/future.h \
  src/loop.h src/asy.h /usr/include/lua5.4/lauxlib.h \
  /usr/include/lua5.4/luaconf.h /usr/include/lua5.4/lua.h src/inbox.h \
  src/list.h src/timer.h src/callback.h src/coro.h src/error.h

src/await.h:

src/task.h:

src/future.h:

src/loop.h:

src/asy.h:

/usr/include/lua5.4/lauxlib.h:

/usr/include/lua5.4/luaconf.h:

/usr/include/lua5.4/lua.h:

src/inbox.h:

src/list.h:

src/timer.h:

src/callback.h:

src/coro.h:

src/error.h:

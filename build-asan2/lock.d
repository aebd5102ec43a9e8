build-asan2/lock.o: src/lock.c src/lock.h src/waitq.h src/task.h \
  src/future.h src/loop.h src/asy.h /usr/include/lua5.4/lauxlib.h \
  /usr/include/lua5.4/luaconf.h /usr/include/lua5.4/lua.h src/inbox.h \
  src/list.h src/timer.h src/error.h

src/lock.h:

src/waitq.h:

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

src/error.h:

build-asan2/condition.o: src/condition.c src/sync.h src/asy.h \
  /usr/include/lua5.4/lauxlib.h /usr/include/lua5.4/luaconf.h \
  /usr/include/lua5.4/lua.h src/error.h src/lock.h src/waitq.h \
  src/task.h src/future.h src/loop.h src/inbox.h src/list.h src/timer.h

src/sync.h:

src/asy.h:

/usr/include/lua5.4/lauxlib.h:

/usr/include/lua5.4/luaconf.h:

/usr/include/lua5.4/lua.h:

src/error.h:

src/lock.h:

src/waitq.h:

src/task.h:

src/future.h:

src/loop.h:

src/inbox.h:

src/list.h:

src/timer.h:

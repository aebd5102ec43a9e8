build-asan2/resolve.o: src/resolve.c src/resolve.h src/task.h \
  src/future.h src/loop.h src/asy.h /usr/include/lua5.4/lauxlib.h \
  /usr/include/lua5.4/luaconf.h /usr/include/lua5.4/lua.h src/inbox.h \
  src/list.h src/timer.h src/address.h src/error.h

src/resolve.h:

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

src/address.h:

src/error.h:

-- base/crew.h in a program of its own, crew.c, without Lua: chores that end or hang, left and forsaken at random.
local t = require "helper"
local program = require "program"

TestCrew = {}

function TestCrew:test_tells_of_each_chore_once_whatever_hangs()
  local here, name = arg[0]:match "^(.*)/[^/]*$" or ".", os.tmpname()
  local source = here .. "/../src"
  local built = os.execute(("%s -O1 -g -D_GNU_SOURCE -DASY_CHECKS -o '%s' '%s/crew.c' '%s/base/crew.c' "
    .. "'%s/base/inbox.c' -I'%s' %s $(pkg-config --cflags --libs libuv) -lpthread >/dev/null 2>&1"):format(
    os.getenv "CC" or "cc", name, here, source, source, source, t.cflags))
  if not built then t.skip "no compiler for a crew" end
  local out, status = program.shell("timeout 100 '%s' %d %d 2>&1", name, os.time() % 100000, t.count(200))
  os.remove(name)
  t.assertEquals({ out, status }, { "", 0 })
end

t.finish()

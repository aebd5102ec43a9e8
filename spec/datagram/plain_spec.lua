-- The calls that every system has, in place of Linux's for several datagrams: the same specs with a module built so.
local t = require "helper"
local program = require "program"

TestPlain = {}

--- A module whose datagrams go one by one, from the objects of the one that is tested; the folder that it is in.
local function build(source)
  local core = package.searchpath("asyncio.core", package.cpath)
  local objects, folder = core and core:match "^(.*)/asyncio/core%.so$", os.tmpname()
  os.remove(folder)
  local script = [[
    mkdir -p "$FOLDER/asyncio" && cd "$OBJECTS" && for name in scoop volley; do
      $COMPILER -O2 -fPIC -DASY_PLAIN_DATAGRAMS -I"$SOURCE" CFLAGS -c -o "$FOLDER/$name.o" "$SOURCE/net/$name.c" ||
        exit 1
    done
    $COMPILER -shared -o "$FOLDER/asyncio/core.so" "$FOLDER"/*.o $(find . -name '*.o' -not -path './editor/*' \
      -not -path './tls/*' -not -path './sec/*' -not -name scoop.o -not -name volley.o) -luv -lpthread]]
  local command = "(COMPILER='%s' FOLDER='%s' OBJECTS='%s' SOURCE='%s'; %s) >/dev/null 2>&1"
  return objects and os.execute(command:format(os.getenv "CC" or "cc", folder, objects, source,
    (script:gsub("CFLAGS", function() return t.cflags .. " $(pkg-config --cflags libuv)" end)))) and folder
end

function TestPlain:test_does_what_the_other_does()
  local here = program.shell("cd '%s' && pwd", arg[0]:match "^(.*)/[^/]*$" or "."):gsub("\n", "")
  local folder = build(here .. "/../../src")
  if not folder then t.skip "no compiler, or no objects, for a module with plain calls" end
  local _ <close> = setmetatable({}, { __close = function() os.execute(("rm -rf '%s'"):format(folder)) end })
  for _, name in ipairs { "endpoint", "bounds" } do
    local command = "LUA_CPATH='%s/?.so;'\"$LUA_CPATH\" timeout 100 %s '%s/%s_spec.lua' 2>&1"
    local out, status = program.shell(command, folder, os.getenv "LUA" or "lua5.4", here, name)
    t.assertEquals(status, 0, out)
  end
end

t.leave_out(TestPlain, ".") -- runs a core of its own, without the tool
t.finish()

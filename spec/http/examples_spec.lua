-- The examples of HTTP, as people run them, and clients that others have made.
local t = require "helper"
local program = require "program"

local fs = t.asyncio.fs

local function needs(name)
  if not os.execute(("command -v %s >/dev/null 2>&1"):format(name)) then t.skip(name .. " is not installed") end
end

local function curl(server, path, options)
  return program.shell("curl -s -m 30 'http://127.0.0.1:%s%s' %s", server.port, path, options or "")
end

--- A folder, which is removed with its scope.
local function folder()
  local path = t.asyncio.run(fs.mkdtemp)
  return path, setmetatable({}, { __close = function() os.execute(("rm -rf '%s'"):format(path)) end })
end

local function start(name, argument)
  local server = program.start("%s %shttp/%s.lua '%s' 0", program.lua, program.examples, name, argument)
  server.port = server:expect "http://127%.0%.0%.1:(%d+)"
  return server
end

TestExamples = {}

function TestExamples:test_a_folder_is_served()
  needs "curl"
  local path, gone = folder()
  local _ <close> = gone
  os.execute(("cd '%s' && echo tea > index.html && mkdir a && head -c 300000 /dev/urandom > a/b.bin"):format(path))
  local server <close> = start("files", path)
  t.assertEquals(curl(server, "/"), "tea\n")
  t.assertEquals(curl(server, "/", "-H 'Range: bytes=0-1'"), "te")
  t.assertEquals(curl(server, "/../../../etc/passwd", "--path-as-is -o /dev/null -w '%{http_code}'"), "404")
  t.assertEquals(curl(server, "/a/b.bin", ("| cmp - '%s/a/b.bin' && echo same; :"):format(path)), "same\n")
  local output, status = server:interrupt()
  t.assertStrContains(output, '"GET / HTTP/1.1" 206 2')
  t.assertEquals(status, 0)
end

function TestExamples:test_notes_are_kept_in_a_database()
  needs "curl"
  if not package.searchpath("luasql.sqlite3", package.cpath) then
    local output, status = program.shell("%s %shttp/notes.lua x 0 2>&1", program.lua, program.examples)
    t.assertStrContains(output, "lua-sql-sqlite3")
    t.assertEquals(status, 1)
    return
  end
  local path, gone = folder()
  local _ <close> = gone
  local server <close> = start("notes", path .. "/notes.db")
  t.assertEquals(curl(server, "/notes",
    [[-d '{"text": "it'"'"'s \"tea\""}']]), '{"id": 1, "text": "it\'s \\"tea\\""}\n')
  t.assertEquals(curl(server, "/notes"), '[{"id": 1, "text": "it\'s \\"tea\\""}]\n')
  t.assertEquals(curl(server, "/notes", "-d 'x' -o /dev/null -w '%{http_code}'"), "400")
  t.assertEquals(curl(server, "/other", "-o /dev/null -w '%{http_code}'"), "404")
  t.assertEquals(select(2, server:interrupt()), 0)
end

function TestExamples:test_requests_are_passed_on()
  needs "curl"
  local path, gone = folder()
  local _ <close> = gone
  os.execute(("cd '%s' && echo tea > index.html && head -c 300000 /dev/urandom > b.bin"):format(path))
  local backend <close> = start("files", path)
  local server <close> = start("proxy", "http://127.0.0.1:" .. backend.port)
  t.assertEquals(curl(server, "/"), "tea\n")
  t.assertEquals(curl(server, "/b.bin", ("| cmp - '%s/b.bin' && echo same; :"):format(path)), "same\n")
  t.assertEquals(curl(server, "/", "-d x -o /dev/null -w '%{http_code}'"), "405")
  t.assertEquals(curl(server, "/", "-H 'If-None-Match: *' -o /dev/null -w '%{http_code}'"), "304")
  backend:interrupt()
  t.assertEquals(curl(server, "/", "-o /dev/null -w '%{http_code}'"), "502")
  t.assertEquals(select(2, server:interrupt()), 0)
end

t.finish()

-- notes.lua - a JSON service whose notes are in SQLite: lua5.4 notes.lua [database [port]]
--
--   curl -d '{"text": "buy tea"}' http://127.0.0.1:8080/notes
--   curl http://127.0.0.1:8080/notes
--
-- SQLite blocks, so it is asked in a thread: one, which has the database to itself. It needs LuaSQL
-- (Debian's lua-sql-sqlite3, or the rock luasql-sqlite3).
local asyncio = require "asyncio"
local http = require "asyncio.http"

local path, port = arg[1] or "notes.db", tonumber(arg[2] or 8080)

if not package.searchpath("luasql.sqlite3", package.cpath) then
  io.stderr:write "notes.lua needs LuaSQL: Debian's package lua-sql-sqlite3, or the rock luasql-sqlite3\n"
  os.exit(1)
end

-- What a thread does has no upvalues from here: it is sent there as it is.

local function open(file)
  local connection = require "luasql.sqlite3".sqlite3():connect(file)
  connection:execute "CREATE TABLE IF NOT EXISTS notes (id INTEGER PRIMARY KEY, text TEXT)"
  package.loaded["the database"] = connection -- of this thread, where the others find it
end

local function add(text)
  local database = require "the database"
  assert(database:execute(("INSERT INTO notes (text) VALUES ('%s')"):format(database:escape(text))))
  return math.tointeger(database:getlastautoid())
end

local function all()
  local database = require "the database"
  local cursor, notes = assert(database:execute "SELECT id, text FROM notes ORDER BY id"), {}
  local row = cursor:fetch({}, "a")
  while row do
    notes[#notes + 1] = { id = math.tointeger(tonumber(row.id)), text = row.text }
    row = cursor:fetch({}, "a")
  end
  return notes
end

-- As much of JSON as this needs; a program of yours takes a library.

local ESCAPES = { ['"'] = '\\"', ["\\"] = "\\\\", ["\n"] = "\\n", ["\t"] = "\\t", ["\r"] = "\\r" }
local LETTERS = { n = "\n", t = "\t", r = "\r" }

local function quoted(text)
  return '"' .. text:gsub('[%c"\\]', function(char)
    return ESCAPES[char] or ("\\u%04x"):format(char:byte())
  end) .. '"'
end

local function text_of(json)
  local text = json:match '^%s*{%s*"text"%s*:%s*"(.*)"%s*}%s*$'
  if not text or text:find '[^\\]"' then http.abort(400, '{"error": "a note is {\\"text\\": ...}"}\n') end
  return (text:gsub("\\(.)", function(char) return LETTERS[char] or char end))
end

local function note(row) return ('{"id": %d, "text": %s}'):format(row.id, quoted(row.text)) end

local function json(status, text)
  return { status = status, headers = { ["Content-Type"] = "application/json" }, body = text .. "\n" }
end

local function main()
  local executor <close> = asyncio.ThreadPoolExecutor(1)
  asyncio.await(executor:submit(open, path))

  local function handler(request)
    if request.path ~= "/notes" then http.abort(404) end
    if request.method == "POST" then
      local text = text_of(request:read())
      local id = asyncio.await(executor:submit(add, text))
      return json(201, note { id = id, text = text })
    elseif request.method == "GET" then
      local list = asyncio.await(executor:submit(all))
      for i, row in ipairs(list) do list[i] = note(row) end
      return json(200, "[" .. table.concat(list, ", ") .. "]")
    end
    http.abort(405, nil, { Allow = "GET, POST" })
  end

  local server <close> = http.serve(handler, "127.0.0.1", port, { stop_grace = 10 })
  print("Notes at http://127.0.0.1:" .. server:sockets()[1].port .. "/notes")
  io.stdout:flush()
  server:serve_forever()
end

local runner <close> = asyncio.Runner { stop_signals = { "SIGTERM" } }
local ok, err = pcall(runner.run, runner, main)
if not ok and not asyncio.isinstance(err, asyncio.KeyboardInterrupt) then error(err, 0) end

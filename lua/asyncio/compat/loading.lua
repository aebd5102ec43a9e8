--- Modules for other libraries are loaded anew, with a `require` of their own that gives them ours.
-- @module asyncio.compat.loading
local check = require "asyncio.check"
local core = require "asyncio.core"

local loading = {}

-- What they require → our module, and its field. Each is loaded when it is first asked for.
local FACES = {
  socket = { "asyncio.socket" },
  ["socket.core"] = { "asyncio.socket" },
  ["socket.unix"] = { "asyncio.socket", "unix" },
  copas = { "asyncio.compat.copas" },
  ssl = { "asyncio.compat.ssl" },
  ["ssl.core"] = { "asyncio.compat.ssl_parts", "core" },
  ["ssl.context"] = { "asyncio.compat.ssl_parts", "context" },
  ["ssl.x509"] = { "asyncio.compat.ssl_parts", "x509" },
  ["ssl.config"] = { "asyncio.compat.ssl_parts", "config" },
}

for _, name in ipairs { "ftp", "future", "http", "lock", "queue", "semaphore", "smtp", "timer" } do
  FACES["copas." .. name] = { "asyncio.compat.copas", name }
end

local SCRIPT_HEADS = { ["\127ELF"] = false, ["\207\250\237\254"] = false, ["\202\254\186\190"] = false }
local GONE = { module = true, setfenv = true, getfenv = true } -- since Lua 5.2
local GONE_TEXT = "\nmodule '%s' needs '%s' of Lua 5.1, which this Lua has not: it cannot be loaded"

local ORDINARY = { debug = true, io = true, math = true, os = true, string = true, table = true, utf8 = true }

local environment = {} -- the globals of what is loaded here
local loaded = {} -- its package.loaded
local origins = {} -- name → the second value of its `require`
local under_way = {} -- name → { owner =, ended = an Event or nil }
local waiting = setmetatable({}, { __mode = "k" }) -- who → the load that it waits for

local function is_ours(name) return name == "asyncio" or name:find "^asyncio%." ~= nil end

-- Finding

--- Whether a file that a searcher of somebody's found is text, and no C module.
local function is_script(path)
  local file = io and io.open(path, "rb")
  if not file then return false end
  local head = file:read(4)
  file:close()
  return head ~= nil and SCRIPT_HEADS[head] == nil
end

--- Where a searcher has found a script; nil if what it found is none, or the module is there already.
local function ask_searchers(name)
  local tried = {}
  for _, searcher in ipairs(package.searchers) do
    local loader, origin = searcher(name)
    if type(loader) == "function" then
      return type(origin) == "string" and is_script(origin) and origin or nil
    elseif type(loader) == "string" then
      tried[#tried + 1] = (loader:find "^\n" and "" or "\n\t") .. loader
    end
  end
  if package.loaded[name] then return nil end
  error(("module '%s' not found:%s"):format(name, table.concat(tried)), 0)
end

--- The script that holds the module; nil where the ordinary `require` knows better.
local function find(name)
  if ORDINARY[name] or is_ours(name) or package.preload[name] then return nil end
  return package.searchpath(name, package.path) or ask_searchers(name)
end

-- Loading

--- The error of a chunk, with what it lacks of Lua 5.1.
local function explained(name, err)
  if type(err) ~= "string" then return err end
  local missing = err:match "attempt to call a nil value %(%a+ '(%a+)'%)"
  if not GONE[missing] or _G[missing] ~= nil then return err end
  return err .. GONE_TEXT:format(name, missing)
end

local function load_script(name, path)
  local chunk, err = loadfile(path, nil, environment)
  if not chunk then
    error(("error loading module '%s' from file '%s':\n\t%s"):format(name, path, err), 0)
  end
  local value = chunk(name, path)
  if value ~= nil then loaded[name] = value end
  if rawget(loaded, name) == nil then loaded[name] = true end
  origins[name] = path
end

--- Ours, and where it is from.
local function face(name)
  local place = FACES[name]
  local module = require(place[1])
  return place[2] and module[place[2]] or module, place[1]
end

--- Who loads: a task, else a coroutine.
local function self_of() return core.current_task() or coroutine.running() end

--- Loads it, which may wait; others that want it wait for the end.
local function load_alone(name, path, who)
  local load = { owner = who }
  under_way[name] = load
  local ok, err = core.catch(load_script, name, path)
  under_way[name] = nil
  if load.ended then load.ended:set() end
  if not ok then error(explained(name, err), 0) end
end

--- Whether the one who loads waits, in the end, for `who`.
local function closes_ring(load, who)
  while load do
    if load.owner == who then return true end
    load = waiting[load.owner]
  end
  return false
end

local function wait_for(load, who)
  load.ended = load.ended or core.Event()
  waiting[who] = load
  local ok, err = core.catch(load.ended.wait, load.ended)
  waiting[who] = nil
  if not ok then error(err, 0) end
end

--- What the modules that are loaded here require.
local function require_privately(name)
  if type(name) ~= "string" then check.fail(1, "require", "name of a module", name) end
  local who = self_of()
  while true do
    local load = under_way[name]
    if load and not closes_ring(load, who) then
      wait_for(load, who)
    elseif rawget(loaded, name) ~= nil then -- a module may put itself there while it loads
      return loaded[name], origins[name]
    elseif load then
      error(("loop or previous error loading module '%s'"):format(name), 0)
    elseif FACES[name] then
      loaded[name], origins[name] = face(name)
    else
      local path = find(name)
      if not path then return require(name) end
      load_alone(name, path, who)
    end
  end
end

-- Their globals: `_G`'s, but for these

local function load_there(chunk, name, mode, ...)
  if select("#", ...) > 0 then return load(chunk, name, mode, (...)) end
  return load(chunk, name, mode, environment)
end

local function loadfile_there(path, mode, ...)
  if select("#", ...) > 0 then return loadfile(path, mode, (...)) end
  return loadfile(path, mode, environment)
end

local function dofile_there(path, ...)
  local chunk, err = loadfile(path, nil, environment)
  if not chunk then error(err, 0) end
  return chunk(...)
end

local function globals() return next, _G end

-- Their `_G` has `_G`'s metatable: what makes undeclared variables errors works as it does elsewhere.

local function getmetatable_there(object, ...)
  if rawequal(object, environment) then object = _G end
  return getmetatable(object, ...)
end

local function setmetatable_there(object, ...)
  if not rawequal(object, environment) then return setmetatable(object, ...) end
  setmetatable(_G, ...)
  return environment
end

local function rawget_there(object, name, ...)
  if rawequal(object, environment) and rawget(environment, name) == nil then object = _G end
  return rawget(object, name, ...)
end

local function rawset_there(object, name, ...)
  if not rawequal(object, environment) then return rawset(object, name, ...) end
  rawset(rawget(environment, name) == nil and _G or environment, name, ...)
  return environment
end

local function make_environment()
  local standard = require "asyncio.coroutine"
  environment._G = environment
  environment.coroutine = standard
  environment.require, environment.load = require_privately, load_there
  environment.loadfile, environment.dofile = loadfile_there, dofile_there
  environment.getmetatable, environment.setmetatable = getmetatable_there, setmetatable_there
  environment.rawget, environment.rawset = rawget_there, rawset_there
  environment.package = setmetatable({ loaded = loaded }, { __index = package, __newindex = package })
  setmetatable(environment, { __index = _G, __newindex = _G, __pairs = globals, __metatable = false })
  loaded._G, loaded.coroutine, loaded.package = environment, standard, environment.package
  setmetatable(loaded, { __index = function(_, name)
    if type(name) == "string" and (ORDINARY[name] or is_ours(name)) then return package.loaded[name] end
  end })
end

make_environment()

--- Loads a module that was written for LuaSocket, LuaSec or copas, and all that it requires, so that these
-- are ours: what blocks there suspends the task here. Each script is loaded once more, apart from what
-- `require` has loaded; C modules, the standard libraries, `package.preload` and asyncio's own are the
-- ordinary ones. Globals are read from and written to `_G`, whose metatable they see, too; but for `require`,
-- `package`, `load`, `loadfile`, `dofile`, and `coroutine`, which is `asyncio.coroutine`. Nothing global is
-- changed but by them. A module may wait while it loads; other tasks that want it wait for it then.
-- @function compat.require
-- @tparam string name
-- @return the module
-- @treturn ?string the file that it came from
function loading.require(name)
  if type(name) ~= "string" then check.fail(1, "require", "name of a module", name) end
  return require_privately(name)
end

--- Runs a script as `compat.require` loads a module.
-- @function compat.dofile
-- @tparam string path
-- @param ... what the script gets as `...`
-- @return what it returns
function loading.dofile(path, ...)
  if type(path) ~= "string" then check.fail(1, "dofile", "path of a script", path) end
  local chunk, err = loadfile(path, nil, environment)
  if not chunk then error(err, 0) end
  return chunk(...)
end

--- Makes these libraries ours in the whole Lua state: for a program that calls it first, before it requires
-- what uses them. `require "socket"` and the others give ours from now on, and the global `coroutine` is
-- `asyncio.coroutine`. What was loaded before stays as it is.
-- @function compat.install
function loading.install()
  for name in pairs(FACES) do
    package.loaded[name] = nil
    package.preload[name] = function() return face(name) end
  end
  _G.coroutine, package.loaded.coroutine = loaded.coroutine, loaded.coroutine
end

return loading

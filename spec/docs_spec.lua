-- What the project says of itself: every public name has its documentation, its place in the manual and its
-- types, the examples in the README, the guides and the manual run and print what they say, and no relative link
-- is dead.
local t = require "helper"
local asyncio, testing = t.asyncio, t.testing
local ssl = require "asyncio.ssl"

local ROOT = arg[0]:match "^(.*)/spec/[^/]*$" or "."

local function read(name)
  local file = assert(io.open(ROOT .. "/" .. name))
  return file:read "a", file:close()
end

local function list(pattern)
  local names = {}
  local pipe <close> = assert(io.popen(("cd '%s' && ls %s"):format(ROOT, pattern)))
  for name in pipe:lines() do names[#names + 1] = name end
  return names
end

local function all_of(pattern)
  local texts = {}
  for _, name in ipairs(list(pattern)) do texts[#texts + 1] = (read(name)) end
  return table.concat(texts, "\n")
end

--- Without it the class SSLContext isn't made, and whatever shows it isn't tried.
local HAS_OPENSSL = pcall(require, "asyncio.openssl")

local function needs_openssl()
  if not HAS_OPENSSL then t.skip "asyncio.openssl is not built" end
end

-- What is public

local CORE_CLASSES = {
  "Loop", "Handle", "Future", "Task", "Lock", "Event", "Condition", "Semaphore", "Barrier", "Queue",
  "Timeout", "StreamReader", "StreamWriter", "Server", "ThreadPoolExecutor", "Channel", "Remote",
  "Pool", "Lease", "Process", "TaskGroup", "File", "Watch", "Trace", "DatagramEndpoint",
  "HTTPConnection", "Headers", "WebSocketConnection",
  HAS_OPENSSL and "SSLContext" or nil,
}

--- Class → its methods by name; those that begin with "_" are ours.
local function public_methods()
  local classes = {}
  assert(asyncio.parsers) -- makes its classes
  if HAS_OPENSSL then ssl.SSLContext { purpose = "client" } end -- makes its class
  for _, name in ipairs(CORE_CLASSES) do
    classes[name] = debug.getregistry()["asyncio." .. name].methods
  end
  classes.Runner = getmetatable(asyncio.Runner())
  classes.ContextVar = getmetatable(asyncio.ContextVar "x")
  classes.Monitor = require "asyncio.monitoring".methods
  classes.WebSocket = require "asyncio.http.websocket".WebSocket
  classes.RedisClient = require "asyncio.redis.client".methods
  classes.RedisPipeline = require "asyncio.redis.pipeline".methods
  classes.RedisSubscription = require "asyncio.redis.subscription".methods
  classes.DistributedExecutor = require "asyncio.distributed.executor".methods
  classes.Job = require "asyncio.distributed.job".class
  classes.VimTask = getmetatable(asyncio.compat.vim_async.run(function() end))
  classes.VimSemaphore = getmetatable(asyncio.compat.vim_async.semaphore())
  classes.Request = require "asyncio.http.request".methods
  classes.BodyWriter = require "asyncio.http.answer".BodyWriter
  classes.Client = require "asyncio.http.client".client_class
  classes.Response = require "asyncio.http.response".class
  local result = {}
  for name, methods in pairs(classes) do
    result[name] = {}
    for key, value in pairs(methods) do
      if type(value) == "function" and key:sub(1, 1) ~= "_" then result[name][key] = value end
    end
  end
  for key in pairs(result.Future) do result.Task[key] = nil end -- inherited
  return result
end

--- "Queue:get" or "sleep" → the function.
local function public_functions()
  local functions = {}
  for name, value in pairs(asyncio) do
    if type(value) == "function" then functions[name] = value end
  end
  for name, value in pairs(asyncio.coroutine) do functions["coroutine." .. name] = value end
  for name, value in pairs(testing) do functions["testing." .. name] = value end
  for name, value in pairs(ssl) do
    if type(value) == "function" then functions["ssl." .. name] = value end
  end
  for name, value in pairs(asyncio.fs) do functions["fs." .. name] = value end
  for name, value in pairs(asyncio.http) do
    if type(value) == "function" then functions["http." .. name] = value end
  end
  for name, value in pairs(asyncio.redis) do
    if type(value) == "function" then functions["redis." .. name] = value end
  end
  for name, value in pairs(asyncio.distributed) do
    if type(value) == "function" then functions["distributed." .. name] = value end
  end
  for name, value in pairs(asyncio.parsers) do functions["parsers." .. name] = value end
  for name, value in pairs(asyncio.compat) do
    if type(value) == "function" then functions["compat." .. name] = value end
  end
  for name, value in pairs(asyncio.compat.vim_async) do
    if not name:find "^_" then functions["vim_async." .. name] = value end
  end
  for class, methods in pairs(public_methods()) do
    for name, fn in pairs(methods) do functions[class .. ":" .. name] = fn end
  end
  return functions
end

local STANDARD = { -- the standard library's own
  ["coroutine.create"] = true, ["coroutine.running"] = true, ["coroutine.isyieldable"] = true,
}

--- The names in the C sources → the comments that are theirs.
local C_DOCS = {}
for block in ("\n" .. all_of "src/*.c src/*/*.c"):gmatch "\n(/// [^\n]*\n[^\n].-\n)[^/\n]" do
  local name = block:match "\n// @function ([^\n]+)\n"
  if name then C_DOCS[name] = block end
end

--- The comment above the definition of a function of ours, or nil.
local function doc_of(name, fn)
  local info = debug.getinfo(fn, "S")
  if info.what == "C" then return C_DOCS[name] end
  local lines, block = {}, {}
  for line in io.lines(info.source:sub(2)) do lines[#lines + 1] = line end
  for i = info.linedefined - 1, 1, -1 do
    if not lines[i]:find "^%-%-" then break end
    table.insert(block, 1, lines[i])
  end
  return block[1] and block[1]:find "^%-%-%- " and table.concat(block, "\n") .. "\n" or nil
end

--- The parameters of a function, as its documentation (C) or its definition (Lua) has them.
local function parameters_of(fn, doc)
  local info, names = debug.getinfo(fn, "Su"), {}
  if info.what == "C" then
    for tag, tagged in doc:gmatch "// @(t?param)([^\n]*)" do
      local rest = tagged:gsub("^%b[]", ""):gsub("^ +", "")
      if tag == "tparam" then rest = rest:gsub("^{[^}]*} *", ""):gsub("^%S+ +", "", rest:find "^{" and 0 or 1) end
      names[#names + 1] = rest:match "^[%w_.]+"
    end
    return table.concat(names, ", ")
  end
  for i = 1, info.nparams do
    local name = debug.getlocal(fn, i)
    if name ~= "self" then names[#names + 1] = name end
  end
  if info.isvararg then names[#names + 1] = "..." end
  return table.concat(names, ", ")
end

--- "Queue:get" → its parameters, in the annotations.
local function annotated_functions()
  local functions = {}
  local text = read "types/asyncio.lua" .. read "types/asyncio/testing.lua" .. read "types/asyncio/ssl.lua"
    .. read "types/asyncio/fs.lua" .. read "types/asyncio/compat.lua" .. read "types/asyncio/http.lua"
    .. read "types/asyncio/parsers.lua" .. read "types/asyncio/redis.lua"
    .. read "types/asyncio/distributed.lua"
  for name, parameters in text:gmatch "\nfunction ([%w_.:]+)(%b())" do
    functions[name:gsub("^asyncio%.", ""):gsub("^inner%.", "coroutine.")] = parameters:sub(2, -2)
  end
  return functions
end

TestNames = {}

function TestNames:test_every_public_function_is_documented()
  local missing = {}
  for name, fn in pairs(public_functions()) do
    if not STANDARD[name] and not doc_of(name, fn) then missing[#missing + 1] = name end
  end
  table.sort(missing)
  t.assertEquals(missing, {})
end

function TestNames:test_every_public_function_is_annotated_with_the_same_parameters()
  local annotated, wrong = annotated_functions(), {}
  for name, fn in pairs(public_functions()) do
    local doc = doc_of(name, fn)
    local expected = doc and parameters_of(fn, doc)
    if annotated[name] == nil then
      wrong[#wrong + 1] = name .. " is missing"
    elseif expected and expected ~= annotated[name]
      and not annotated[name]:find("^" .. expected:gsub("%.%.%.$", "")) then
      wrong[#wrong + 1] = ("%s(%s) is annotated as (%s)"):format(name, expected, annotated[name])
    end
  end
  table.sort(wrong)
  t.assertEquals(wrong, {})
end

function TestNames:test_nothing_is_annotated_that_is_not_there()
  needs_openssl()
  local functions, extra = public_functions(), {}
  for name in pairs(annotated_functions()) do
    local class, method = name:match "^(%u%w*):(.*)$"
    local there = functions[name] or class and asyncio[class] and type(asyncio[class]) == "table"
      and asyncio[class][method]
    if not there then extra[#extra + 1] = name end
  end
  table.sort(extra)
  t.assertEquals(extra, {})
end

function TestNames:test_every_other_value_is_annotated()
  local types, missing = read "types/asyncio.lua", {}
  for name, value in pairs(asyncio) do
    if type(value) ~= "function" and not types:find("---@field " .. name .. " ", 1, true) then
      missing[#missing + 1] = name
    end
  end
  t.assertEquals(missing, {})
end

-- Examples

TestExamples = {}

local GUIDES = list "README.md doc/*.md examples/lecture/README.md 2>/dev/null || true"

--- Has each `print(…) --> values` compare what it prints; values stand two spaces apart, or in the next line.
local function checked(source)
  local lines = {}
  source = source:gsub("(print%b())\n%s*(%-%->[^\n]*)", "%1 %2\n")
  for text in (source .. "\n"):gmatch "(.-)\n" do
    local line = text
    local indent, args, expected = line:match "^(%s*)print(%b())%s*%-%->%s*(.-)%s*$"
    if not args then indent, args, expected = line:match "^(%s*)print (%b\"\")%s*%-%->%s*(.-)%s*$" end
    if args then line = ("%s__expect(%q, %s)"):format(indent, expected, args:gsub("^%((.*)%)$", "%1")) end
    lines[#lines + 1] = line
  end
  return table.concat(lines, "\n")
end

local function expect(expected, ...)
  local values = table.pack(...)
  for i = 1, values.n do values[i] = tostring(values[i]):gsub("\n$", "") end
  t.assertEquals(table.concat(values, "  "), (expected:gsub("  +", "  ")))
end

local EXPECT = [[
local function __expect(expected, ...)
  local values = table.pack(...)
  for i = 1, values.n do values[i] = tostring(values[i]) end
  local actual = table.concat(values, "  ")
  if actual ~= expected:gsub("  +", "  ") then error(("%q expected, got %q"):format(expected, actual), 2) end
end ]]
--- Stands in for a database where Debian's LuaSQL is not installed: every SELECT has two rows.
local LUASQL = [[package.preload["luasql.sqlite3"] = function()
  local connection = {}
  function connection:execute(statement)
    if not statement:find "^SELECT" then return 2.0 end
    local left = { { name = "black", minutes = 4 }, { name = "green", minutes = 2 } }
    return setmetatable({ fetch = function() return table.remove(left, 1) end }, { __index = self })
  end
  local environment = { connect = function() return connection end }
  return { sqlite3 = function() return environment end }
end ]]
local HAS_LUASQL = package.searchpath("luasql.sqlite3", package.cpath) ~= nil

local PROGRAM = EXPECT .. "local asyncio = require 'asyncio' asyncio.run(function() "

local function run_program(source, name)
  if source:find("luasql", 1, true) and not HAS_LUASQL then source = LUASQL .. source end
  local _, err, code = t.lua(source)
  if code ~= 0 then t.fail(("%s ends with %s: %s"):format(name, code, err)) end
end

--- A program of its own, or the body of a main task: on the virtual clock, unless it has threads.
local function run_block(source, name)
  if source:find 'local asyncio = require "asyncio"\n' then return run_program(EXPECT .. checked(source), name) end
  for _, word in ipairs { "thread", "executor", "Executor", "Channel" } do
    if source:find(word, 1, true) then return run_program(PROGRAM .. checked(source) .. "\nend)", name) end
  end
  local environment = setmetatable({ asyncio = asyncio, __expect = expect, print = function() end }, { __index = _G })
  local chunk = assert(load(checked(source), "=" .. name, "t", environment))
  t.run(chunk)
end

--- What a guide's commands make (its `sh run` blocks), in a folder of its own; its blocks then find the files there.
local function made_by(text)
  local folder = os.tmpname()
  os.remove(folder)
  assert(os.execute(("mkdir -m 700 '%s'"):format(folder)))
  for commands in text:gmatch "\n```sh run\n(.-)\n```" do
    local script = folder .. "/commands.sh"
    local file <close> = assert(io.open(script, "w"))
    file:write("set -e\n", commands, "\n")
    file:close()
    local pipe = assert(io.popen(("cd '%s' && sh commands.sh 2>&1"):format(folder)))
    local output = pipe:read "a"
    if not pipe:close() then t.fail(output) end
  end
  return setmetatable({}, {
    __index = function(_, source)
      return (source:gsub('"(%w+%.%l+)"', function(name)
        local file <close> = io.open(folder .. "/" .. name)
        return file and ("%q"):format(folder .. "/" .. name)
      end))
    end,
    __close = function() os.execute(("rm -rf '%s'"):format(folder)) end,
  })
end

local NOTHING = setmetatable({}, { __index = function(_, source) return source end, __close = function() end })

--- Runs the blocks of a guide that are Lua; those marked `norun` are only compiled.
local function run_blocks(guide)
  local text, at, line = "\n" .. read(guide), 1, 0
  local makes = text:find("\n```sh run\n", 1, true)
  if makes then needs_openssl() end
  local made <close> = makes and made_by(text) or NOTHING
  while true do
    local from, _, info = text:find("\n```lua([^\n]*)\n", at)
    if not from then return end
    local _, last, source = text:find("\n(.-)\n```", from + 1)
    line = line + select(2, text:sub(at, from):gsub("\n", ""))
    local name = guide .. ":" .. line
    assert(load(checked(source), "=" .. name))
    if not info:find "norun" then run_block(made[source], name) end
    line = line + select(2, text:sub(from + 1, last):gsub("\n", ""))
    at = last + 1
  end
end

for _, guide in ipairs(GUIDES) do
  TestExamples["test_of_" .. guide:gsub("[/.-]", "_")] = function() run_blocks(guide) end
end

-- The manual

TestManual = {}

--- Page → its text, with LDoc's tags.
local MANUAL = {}
do
  local folder = os.tmpname()
  os.remove(folder)
  local lua = os.getenv "LUA" or "lua5.4"
  local made = os.execute(("mkdir '%s' && cd '%s' && %s tools/manual.lua '%s'"):format(folder, ROOT, lua, folder))
  for _, name in ipairs(made and list(("'%s'"):format(folder)) or {}) do
    local file <close> = assert(io.open(folder .. "/" .. name))
    MANUAL[name:match "^(.*)%.lua$"] = file:read "a"
  end
  os.execute(("rm -rf '%s'"):format(folder))
end

function TestManual:test_has_every_public_function_and_no_other()
  needs_openssl()
  local expected, shown = public_functions(), {}
  for _, page in pairs(MANUAL) do
    for name in page:gmatch "\n%-%- @function (%S+)" do
      local class, method = name:match "^(%u%w*):(.*)$"
      local has = class and (type(asyncio[class]) == "table" and asyncio[class]
        or debug.getregistry()["asyncio." .. class]) -- an heir has all methods
      t.assertTrue(expected[name] ~= nil or has and (has.methods or has)[method] ~= nil, name)
      t.assertNil(shown[name], name .. " stands there twice")
      shown[name] = true
    end
  end
  local missing = {}
  for name in pairs(expected) do
    if not shown[name] and not STANDARD[name] then missing[#missing + 1] = name end
  end
  table.sort(missing)
  t.assertEquals(missing, {})
end

function TestManual:test_has_every_class_and_value()
  for class in pairs(public_methods()) do t.assertStrContains(MANUAL[class] or "", "@classmod " .. class) end
  for name, value in pairs(asyncio) do
    local page = type(value) == "table" and value.__name and "Error" or "asyncio"
    if type(value) ~= "function" then t.assertStrContains(MANUAL[page], name) end
  end
end

--- The examples of a page, and the sections of it that have none.
local function examples_of(page)
  local examples, bare, section = {}, {}, nil
  for block in page:gmatch "%-%-%- .-\n\n" do
    if block:find "\n%-%- @section" then
      section = block:match "%-%-%- ([^\n]*)"
      bare[section] = true
    end
    for text in (block:gsub("\n%-%- ?", "\n") .. "@"):gmatch "\n@usage\n(.-)%f[@]" do
      examples[#examples + 1] = text
      bare[section or ""] = nil
    end
  end
  return examples, next(bare)
end

-- In the section of the classes' constructors the examples stand on the classes' pages.
function TestManual:test_has_an_example_on_every_page_and_in_every_section()
  for name, page in pairs(MANUAL) do
    local examples, bare = examples_of(page:gsub("%-%-%- Coordination\n%-%- @section [^\n]*\n", ""))
    t.assertTrue(#examples > 0, name .. " has no example")
    t.assertNil(bare, name)
  end
end

for name, page in pairs(MANUAL) do
  TestManual["test_example_of_" .. name:gsub("%.", "_")] = function()
    if page:find 'require "asyncio.ssl"' then needs_openssl() end
    for i, example in ipairs((examples_of(page))) do run_block(example, ("%s, example %d"):format(name, i)) end
  end
end

function TestManual:test_there_is_one() t.assertNotNil(next(MANUAL)) end

-- What Lua uses of C, as doc/design.md lists it

TestContract = {}

--- "isatty", "Loop:_get" → true
local function listed()
  local names = {}
  local section = read "doc/design.md":match "\n### What Lua uses of C\n(.-)\n##"
  for row in section:gmatch "\n| (`[^|]*) |" do
    for name in row:gmatch "`([^`]+)`" do names[name] = true end
  end
  for _, module in ipairs { "editor", "grammar", "openssl" } do names["asyncio." .. module] = nil end -- not the core's
  return names
end

-- Classes of other C modules.
local OTHERS = { ["asyncio.SSLContext"] = true, ["asyncio.WebSocketConnection"] = true }

--- What the core has that isn't public.
local function private()
  local names, public = {}, {}
  for _, module in ipairs { asyncio, asyncio.coroutine, testing } do
    for _, value in pairs(module) do public[value] = true end
  end
  for name, value in pairs(require "asyncio.core") do
    if not public[value] then names[name] = true end
  end
  for class, meta in pairs(debug.getregistry()) do
    local is_core = type(class) == "string" and class:find "^asyncio%." and not OTHERS[class]
    local methods = is_core and type(meta) == "table" and meta.methods
    for name in pairs(methods or {}) do
      if type(name) == "string" and name:find "^_" then names[class:sub(9) .. ":" .. name] = true end
    end
  end
  for name in pairs(names) do
    if names[name:gsub("^Task:", "Future:")] and name:find "^Task:" then names[name] = nil end -- inherited
  end
  return names
end

local function sorted(names)
  local sequence = {}
  for name in pairs(names) do sequence[#sequence + 1] = name end
  table.sort(sequence)
  return sequence
end

function TestContract:test_lists_what_c_defines() t.assertEquals(sorted(listed()), sorted(private())) end

function TestContract:test_lists_what_lua_uses_and_nothing_else()
  local text = all_of "lua/asyncio/*.lua lua/asyncio/*/*.lua bin/asyncio spec/*.lua"
  local used, unused = {}, {}
  for name in text:gmatch '%f[%w_]core"?%.([%w_]+)' do used[name] = true end
  for name in text:gmatch "[:.](_%l[%w_]*)" do used[name] = true end
  for name in pairs(listed()) do
    if not used[name:match "[^:]+$"] then unused[#unused + 1] = name end
  end
  t.assertEquals(unused, {})
end

-- Charts

TestCharts = {}

function TestCharts:test_are_drawn_of_the_results()
  local folder = os.tmpname()
  os.remove(folder)
  local lua = os.getenv "LUA" or "lua5.4"
  local draw = "cd '%s' && test -f tools/charts.lua && mkdir '%s' && %s tools/charts.lua '%s'"
  if not os.execute(draw:format(ROOT, folder, lua, folder)) then t.skip "tools are not here" end
  for _, name in ipairs(list(("'%s'"):format(folder))) do
    local file <close> = assert(io.open(folder .. "/" .. name))
    local same = file:read "a" == read("doc/pictures/" .. name)
    t.assertTrue(same, name .. " is older than bench/RESULTS.md: `make pictures`")
  end
  os.execute(("rm -rf '%s'"):format(folder))
end

-- Links

TestLinks = {}

local function anchors_of(text)
  local anchors = {}
  for heading in ("\n" .. text):gmatch "\n#+ ([^\n]*)" do
    anchors[heading:lower():gsub("[^%w_%- ]", ""):gsub(" ", "-")] = true
  end
  return anchors
end

function TestLinks:test_none_is_dead()
  local dead = {}
  for _, page in ipairs(list "*.md */*.md examples/*/*.md 2>/dev/null || true") do
    local folder = page:match "^(.*/)" or ""
    for target in read(page):gmatch "%]%(([^)%s]+)%)" do
      local path, anchor = target:match "^([^#]*)#?(.*)$"
      if not target:find "^%a+:" then
        local name = path == "" and page or folder .. path
        local file = io.open(ROOT .. "/" .. name)
        local content = file and file:read "a"
        if file then file:close() end
        local alive = file and (anchor == "" or content and anchors_of(content)[anchor])
        if not alive then dead[#dead + 1] = page .. " → " .. target end
      end
    end
  end
  t.assertEquals(dead, {})
end

t.finish { sampled = true }

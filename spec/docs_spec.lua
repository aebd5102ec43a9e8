-- What the project says of itself: every public name has its documentation and its types, the examples in the
-- README and the guides run and print what they say, and no relative link is dead.
local t = require "helper"
local asyncio = t.asyncio

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

-- What is public

local CORE_CLASSES = {
  "Loop", "Handle", "Future", "Task", "Lock", "Event", "Condition", "Semaphore", "Barrier", "Queue",
  "StreamReader", "StreamWriter", "Server", "ThreadPoolExecutor", "Channel", "Remote",
}

--- Class → its methods by name; those that begin with "_" are ours.
local function public_methods()
  local classes = {}
  for _, name in ipairs(CORE_CLASSES) do
    classes[name] = debug.getregistry()["asyncio." .. name].methods
  end
  asyncio.run(function()
    local group <close> = asyncio.TaskGroup()
    local timeout <close> = asyncio.timeout()
    classes.TaskGroup, classes.Timeout = getmetatable(group), getmetatable(timeout)
  end)
  classes.Runner = getmetatable(asyncio.Runner())
  classes.ContextVar = getmetatable(asyncio.ContextVar "x")
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
for block in ("\n" .. all_of "src/*.c"):gmatch "\n(/// [^\n]*\n[^\n].-\n)[^/\n]" do
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
    for tag, rest in doc:gmatch "// @(t?param)([^\n]*)" do
      rest = rest:gsub("^%b[]", ""):gsub("^ +", "")
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
  for name, parameters in read "types/asyncio.lua":gmatch "\nfunction ([%w_.:]+)(%b())" do
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

--- Has each `print(…) --> values` compare what it prints; values stand two spaces apart.
local function checked(source)
  local lines = {}
  for line in (source .. "\n"):gmatch "(.-)\n" do
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

local PROGRAM = [[
local asyncio = require "asyncio"
local function __expect(expected, ...)
  local values = table.pack(...)
  for i = 1, values.n do values[i] = tostring(values[i]) end
  local actual = table.concat(values, "  ")
  if actual ~= expected:gsub("  +", "  ") then error(("%q expected, got %q"):format(expected, actual), 2) end
end
asyncio.run(function() ]]

local function run_program(source, name)
  local _, err, code = t.lua(source)
  if code ~= 0 then t.fail(("%s ends with %s: %s"):format(name, code, err)) end
end

--- A program of its own, or the body of a main task: on the virtual clock, unless it has threads.
local function run_block(source, name)
  if source:find("asyncio.run", 1, true) then return run_program(source, name) end
  for _, word in ipairs { "thread", "executor", "Executor", "Channel" } do
    if source:find(word, 1, true) then return run_program(PROGRAM .. checked(source) .. "\nend)", name) end
  end
  local environment = setmetatable({ asyncio = asyncio, __expect = expect, print = function() end }, { __index = _G })
  local chunk = assert(load(checked(source), "=" .. name, "t", environment))
  t.virtual(chunk)()
end

--- Runs the blocks of a guide that are Lua; those marked `norun` are only compiled.
local function run_blocks(guide)
  local text, at, line = "\n" .. read(guide), 1, 0
  while true do
    local from, _, info = text:find("\n```lua([^\n]*)\n", at)
    if not from then return end
    local _, last, source = text:find("\n(.-)\n```", from + 1)
    line = line + select(2, text:sub(at, from):gsub("\n", ""))
    local name = guide .. ":" .. line
    assert(load(checked(source), "=" .. name))
    if not info:find "norun" then run_block(source, name) end
    line = line + select(2, text:sub(from + 1, last):gsub("\n", ""))
    at = last + 1
  end
end

for _, guide in ipairs(GUIDES) do
  TestExamples["test_of_" .. guide:gsub("[/.-]", "_")] = function() run_blocks(guide) end
end

-- Links

TestLinks = {}

local function anchors_of(text)
  local anchors = {}
  for heading in ("\n" .. text):gmatch "\n#+ ([^\n]*)" do
    anchors[heading:lower():gsub("[^%w%- ]", ""):gsub(" ", "-")] = true
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

t.finish()

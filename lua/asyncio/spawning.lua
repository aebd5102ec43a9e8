--- What a program is started with: arguments and options become an order, whose form is C's
-- (os/subprocess.c).
-- @module asyncio.spawning
local check = require "asyncio.check"
local core = require "asyncio.core"

local spawning = {}

local DEFAULT_PATH = "/usr/local/bin:/bin:/usr/bin" -- where the environment has none
local PIPE, NULL, AS_STDOUT = -1, -2, -3             -- C's, in place of a descriptor
local MOST_FD, MOST_ID = (1 << 31) - 1, (1 << 32) - 2
local LONGEST_NAME = 60                              -- of what runs, in reports
local PAUSE = 0.001                                  -- seconds, between two looks at a thread that writes
local ZERO = "a zero byte, which no program can be given"
local STANDARD = { [0] = "stdin", "stdout", "stderr" }

-- Options, as descriptions for check.options

local COMMON = {
  { "stdin", "any" }, { "stdout", "any" }, { "stderr", "any" }, { "cwd", "string" }, { "env", "list" },
  { "extra_env", "list" }, { "limit", "integer", 1, math.maxinteger // 4 }, { "new_session", "boolean" },
  { "process_group", "integer", 0, MOST_FD }, { "umask", "any" }, { "uid", "integer", 0, MOST_ID },
  { "gid", "integer", 0, MOST_ID }, { "pass_fds", "list" }, { "kill_timeout", "seconds" },
  { "drain_grace", "seconds" },
}

-- A table that checks the options of a call: what all have, and its own. arg: which argument they are
function spawning.options(call, arg, ...)
  local description = { call, arg, ... }
  table.move(COMMON, 1, #COMMON, #description + 1, description)
  return check.options(description)
end

-- Who called, for errors: { name=, arg= } of the options

local function fail(call, key, text) check.error(call.arg, call.name, ("'%s': %s"):format(key, text)) end

local function without_zeros(call, key, text)
  if text:find("\0", 1, true) then fail(call, key, "it holds a zero byte, which no program can be given") end
  return text
end

-- Arguments

-- Their texts. first: the number of the first; nil: they stand in a list, which is argument 1
function spawning.arguments(name, list, n, first)
  local argv = {}
  for i = 1, n do
    local value, arg = list[i], first and first + i - 1 or 1
    if type(value) ~= "string" and type(value) ~= "number" then
      check.fail(arg, name, first and "string or number" or "list of strings and numbers", value)
    end
    argv[i] = tostring(value)
    if argv[i]:find("\0", 1, true) then check.error(arg, name, ZERO) end
  end
  if argv[1] == "" then check.error(1, name, "the program's name is empty") end
  return argv
end

-- Those of a script: the option `args`.
function spawning.script_arguments(name, args)
  local n, argv = #args, {}
  for key, value in pairs(args) do
    local function wrong(text) check.error(2, name, "'args': " .. text) end
    if math.type(key) ~= "integer" or key < 1 or key > n then
      wrong(("a list of strings and numbers expected, it has '%s'"):format(core.words(key)))
    elseif type(value) ~= "string" and type(value) ~= "number" then
      wrong("a list of strings and numbers expected, got " .. core.kind_of(value))
    end
    argv[key] = tostring(value)
    if argv[key]:find("\0", 1, true) then wrong(ZERO) end
  end
  return argv
end

-- A list of arguments, and nothing else.
function spawning.list(name, list)
  local n = #list
  for key in pairs(list) do
    if math.type(key) ~= "integer" or key < 1 or key > n then
      check.error(1, name, ("a list of arguments has no '%s': options stand in a table of their own")
        :format(core.words(key)))
    end
  end
  if n == 0 then check.error(1, name, "the program is missing: the list is empty") end
  return spawning.arguments(name, list, n)
end

-- Environment

local function add_variables(call, key, vars, values, may_remove)
  for name, value in pairs(values) do
    if type(name) ~= "string" or name == "" or name:find("[=%z]") then
      fail(call, key, ("%s is no name of a variable"):format(core.words(name)))
    end
    if value == false and may_remove then
      vars[name] = nil
    elseif type(value) == "string" or type(value) == "number" then
      vars[name] = without_zeros(call, key, tostring(value))
    else
      fail(call, key, ("%s is a string or a number%s, got %s"):format(name, may_remove and ", or false" or "",
        core.kind_of(value)))
    end
  end
end

-- The list for exec, and the PATH in it; nil, our PATH: as ours is.
local function environment(call, opts)
  if not opts.env and not opts.extra_env then return nil, core.environment "PATH" end
  local vars = opts.env and {} or core.environment()
  if opts.env then add_variables(call, "env", vars, opts.env) end
  if opts.extra_env then add_variables(call, "extra_env", vars, opts.extra_env, true) end
  local list = {}
  for name, value in pairs(vars) do list[#list + 1] = name .. "=" .. value end
  return list, vars.PATH
end

-- Where the program may be: one after the other.
local function candidates(program, path)
  if program:find("/", 1, true) then return { program } end
  local list = {}
  for folder in ((path or DEFAULT_PATH) .. ":"):gmatch "([^:]*):" do
    list[#list + 1] = (folder == "" and "." or folder) .. "/" .. program
  end
  return list
end

-- Descriptors

-- Notes a stream of ours, which is closed here once the program has it.
local function give_stream(given, stream)
  for _, other in ipairs(given) do
    if rawequal(other, stream) then return end
  end
  given[#given + 1] = stream
end

-- The descriptor of a number, a file or a stream; nil: it is none. Waits for what has been written to it.
local function descriptor(call, key, value, given)
  if math.type(value) == "integer" and value >= 0 and value <= MOST_FD then return value end
  local fd = core.file_descriptor(value)
  if fd == false then fail(call, key, "the file is closed") end
  if fd then return fd end
  fd = core.pass_file(value)
  if fd == false then fail(call, key, "the file is closed") end
  if fd then
    given.files[value] = fd
    return fd
  end
  local kind = core.type(value)
  if kind ~= "StreamReader" and kind ~= "StreamWriter" then return nil end
  repeat
    fd = core.pass_stream(value)
    if not fd then core.sleep(PAUSE) end
  until fd
  give_stream(given, value)
  return fd
end

local EXPECTED = '"pipe", "null", "inherit"%s, descriptor, file or stream expected, got %s'

local function standard(call, opts, i, given)
  local key = STANDARD[i]
  local value = opts[key]
  if value == nil or value == "inherit" then return i end
  if value == "pipe" then return PIPE end
  if value == "null" then return NULL end
  if value == "stdout" and i == 2 then return AS_STDOUT end
  local fd = descriptor(call, key, value, given)
  if fd then return fd end
  local got = type(value) == "string" and ('"%s"'):format(value)
    or type(value) == "number" and tostring(value) or core.kind_of(value)
  fail(call, key, EXPECTED:format(i == 2 and ', "stdout"' or "", got))
end

local EXPECTED_FDS = "a list of descriptors, or a table {[3] = descriptor, file or stream} expected"

-- {from, to} of one: in a list descriptors keep their numbers. What stands in [1] and [2] is always of a
-- list.
local function passed(call, key, value, is_list, given)
  local fd = descriptor(call, "pass_fds", value, given)
  local to = is_list and fd or key
  if not fd or is_list and type(value) ~= "number" or math.type(to) ~= "integer" or to > MOST_FD then
    fail(call, "pass_fds", EXPECTED_FDS)
  end
  if to <= 2 then fail(call, "pass_fds", ("%d is %s"):format(to, STANDARD[to] or "no descriptor")) end
  return { fd, to }
end

local function by_number(a, b) return a[2] < b[2] end

local function add_passed(call, opts, fds, given)
  local list, is_list, seen = {}, opts.pass_fds[1] ~= nil, {}
  for key, value in pairs(opts.pass_fds) do
    local pair = passed(call, key, value, is_list, given)
    if not seen[pair[2]] then list[#list + 1] = pair end
    seen[pair[2]] = true
  end
  table.sort(list, by_number)
  for _, pair in ipairs(list) do
    fds[#fds + 1] = pair[1]
    fds[#fds + 1] = pair[2]
  end
end

-- What we have written to a descriptor that the program is to have comes before what it writes.
local function flush(fds)
  for i = 1, #fds, 2 do
    local fd = fds[i]
    local stream = (fd == 1 or fd == 2) and core.standard_stream(fd)
    while stream and not core.pass_stream(stream) do core.sleep(PAUSE) end
  end
end

-- While others were waited for somebody may have closed a file.
local function are_open(files)
  for file, fd in pairs(files) do
    if core.passed_file(file) ~= fd then return false end
  end
  return true
end

-- Theirs and ours in turn, the streams among them, or nil; nothing: to be asked again.
local function descriptors(call, opts)
  local fds, given = {}, { files = {} }
  for i = 0, 2 do
    fds[2 * i + 1] = standard(call, opts, i, given)
    fds[2 * i + 2] = i
  end
  if opts.pass_fds then add_passed(call, opts, fds, given) end
  flush(fds)
  if are_open(given.files) then return fds, given[1] and given or nil end
end

-- The order

local function mode(call, key, value)
  if value == nil then return nil end
  return check.mode(value, 511) or -- 0777
    fail(call, key, 'a mode expected, an integer or octal digits like "022", got ' .. core.words(value))
end

-- What runs, for people: in one line, and no longer than that.
function spawning.name_of(argv, longest)
  local text = table.concat(argv, " ")
  if #text > longest then text = text:sub(1, longest - 3) .. "..." end
  return (text:gsub("%c", function(char)
    return char == "\n" and "\\n" or char == "\t" and "\\t" or ("\\%d"):format(char:byte())
  end))
end

-- Starts it: what else can be wrong about the options is said before. call: { name=, arg= }; args: what
-- Process.args is. May wait: for what has been written to a stream that the program is given.
function spawning.start(call, argv, args, opts)
  if opts.new_session and opts.process_group then
    fail(call, "process_group", "the leader of a new session has a group of its own")
  end
  local order = {
    program = argv[1], name = spawning.name_of(argv, LONGEST_NAME), argv = argv, cwd = opts.cwd,
    limit = opts.limit, uid = opts.uid, gid = opts.gid, session = opts.new_session and 1 or 0,
    group = opts.process_group, detach = opts.detach and 1 or 0, umask = mode(call, "umask", opts.umask),
  }
  if opts.cwd then without_zeros(call, "cwd", opts.cwd) end
  if opts.cwd == "" then fail(call, "cwd", "the folder's name is empty") end
  local path
  order.env, path = environment(call, opts)
  order.paths = candidates(argv[1], path)
  if opts.argv0 then
    order.argv = table.move(argv, 1, #argv, 1, {})
    order.argv[1] = without_zeros(call, "argv0", opts.argv0)
  end
  local process
  repeat
    order.fds, order.given = descriptors(call, opts)
    process = order.fds and core.spawn(args, order)
  until process
  local state = process:_state()
  state.kill_timeout, state.drain_grace = opts.kill_timeout, opts.drain_grace
  return process
end

return spawning

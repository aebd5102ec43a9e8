--- The command `asyncio`: what its arguments ask for.
-- @module asyncio.command
local asyncio = require "asyncio"
local core = require "asyncio.core"

local command = {}

--- Words that are commands of their own: name → function(arguments...) → exit status. One counts where it is
-- the first argument; a script of that name is called as `asyncio -- NAME`, or with a `/` or a `.` in it.
command.subcommands = {}

local USAGE = [==[
usage: asyncio [options] [script [args]]
       asyncio ps [PID] | tree PID [--all|--leaks] | top PID | trace PID SECONDS FILE
       asyncio worker --url URL [--queue Q]... [--concurrency N] [--threads] [--grace S] MODULE...
       asyncio jobs --url URL [--queue Q] [list|show ID|retry ID|cancel ID|dead|purge [dead]]
Without a script: a REPL, whose inputs may await; or the script on standard input, when that is no terminal.
  script      runs the file as the main task of an event loop, with `arg` and `...` as lua sets them;
              SIGTERM stops it as Ctrl-C does (status 143, 130)
  -e CODE     runs the text, before the script
  -l MOD      requires it into the global MOD; -l NAME=MOD into NAME
  -i          goes on with a REPL, in the same loop
  -W          turns warnings on
  -v          shows the versions
  -           runs standard input as a script
  --          ends the options
  -h, --help, --version  show this, or the versions, and nothing else
  ps, tree, top, trace  look at programs that have called asyncio.monitor() or run with ASYNCIO_MONITOR=1: a
              list of them; who waits for whom, and where; the busiest tasks (keys: q, p pause, l next loop,
              space); what happens within some seconds, as asyncio.trace writes it: FILE.html or FILE.json
  worker, jobs  runs jobs that DistributedExecutors have stored in a Redis, functions of these modules, until
              SIGTERM or SIGINT (then they have --grace 30 seconds to end); looks at its jobs
Environment: ASYNCIO_DEBUG=1 switches debug mode on; ASYNCIO_TRACE=out.html (or .json) writes what the tasks
did; ASYNCIO_MONITOR=1 lets ps, tree and top look at the program; ASYNCIO_HISTORY names the REPL's history
file (~/.asyncio_history), "" for none.
]==]

local function complain(text)
  io.stderr:write("asyncio: " .. text .. "\n")
end

-- Looking at other processes

local function misused(name, what)
  complain(("%s; usage: asyncio %s"):format(what, name))
  return 1
end

--- Sorts arguments into names, of which there may be so many, and the flags that are known; or a complaint.
local function read_words(args, least, most, flags)
  local names, options = {}, {}
  for _, word in ipairs(args) do
    if word:sub(1, 2) == "--" then
      if not flags[word] then return nil, ("unrecognized option '%s'"):format(word) end
      options[flags[word]] = true
    else
      names[#names + 1] = word
    end
  end
  if #names < least then return nil, "a PID is missing" end
  if #names > most then return nil, ("one argument too many: '%s'"):format(names[most + 1]) end
  return names, options
end

local function looks(module, usage, least, flags)
  return function(...)
    local names, options = read_words({ ... }, least, 1, flags or {})
    if not names then return misused(usage, options) end
    return require(module)(names[1], options)
  end
end

command.subcommands.trace = function(...)
  local usage, pid, seconds, path, more = "trace PID SECONDS FILE", ...
  if not path then return misused(usage, "PID, SECONDS and FILE are needed") end
  if more then return misused(usage, ("one argument too many: '%s'"):format(more)) end
  local n = tonumber(seconds)
  if not (n and n > 0 and n <= 600) then
    return misused(usage, ("seconds, more than 0 and at most 600, expected, got '%s'"):format(seconds))
  end
  local kind = path:match "%.(html)$" or path:match "%.(json)$"
  if not kind then
    return misused(usage, ("a file that ends in .html or .json expected, got '%s'"):format(path))
  end
  return require "asyncio.looking.trace"(pid, n, path, kind)
end

command.subcommands.ps = looks("asyncio.looking.ps", "ps [PID]", 0)
command.subcommands.tree = looks("asyncio.looking.tree", "tree PID [--all|--leaks]", 1,
  { ["--all"] = "all", ["--leaks"] = "leaks" })
command.subcommands.top = looks("asyncio.looking.top", "top PID", 1)

-- Beyond one machine

function command.subcommands.worker(...) return require "asyncio.distributed.command".worker(...) end
function command.subcommands.jobs(...) return require "asyncio.distributed.command".jobs(...) end

local function print_versions()
  print(("%s, %s, libuv %s"):format(asyncio._VERSION, _VERSION, core.libuv_version()))
end

-- The options

local function load_code(code) return load(code, "=(command line)") end

--- `-l mod`, `-l name=mod`; what stands behind a `-` of a module's name is its version, as for lua.
local function requiring(text)
  local name, module = text:match "^([^=]*)=(.*)$"
  if not name then name, module = text:gsub("%-.*", ""), text end
  local required = load_code "return (require(...))" -- so that an error is the command line's
  return function() rawset(_G, name, required(module)) end
end

--- Each takes the plan and what stands behind the letter, and may give a complaint.
local TAKES_VALUE = {
  e = function(plan, code)
    local chunk, message = load_code(code)
    plan[#plan + 1] = chunk
    plan.code = true
    return message
  end,
  l = function(plan, text) plan[#plan + 1] = requiring(text) end,
}

local FLAGS = {
  i = function(plan) plan.prompts = true end,
  v = function(plan) plan.versions = true end,
  W = function(plan) plan[#plan + 1] = function() warn "@on" end end,
}

--- Reads the option at args[i]: where the next argument is; or nil and a complaint.
local function read_option(plan, args, i)
  local letter, rest = args[i]:match "^%-(.)(.*)$"
  local take, set = TAKES_VALUE[letter], FLAGS[letter]
  if set and rest == "" then
    set(plan)
    return i + 1
  elseif not take then
    return nil, ("unrecognized option '%s'\n%s"):format(args[i], USAGE)
  end
  local value = rest ~= "" and rest or args[i + 1]
  if not value or rest == "" and value:sub(1, 1) == "-" then
    return nil, ("'%s' needs an argument\n%s"):format(args[i], USAGE)
  end
  local message = take(plan, value)
  if message then return nil, message end
  return i + (rest == "" and 2 or 1)
end

--- What the arguments ask for: what runs first, in its order, and in `script` where the script stands; or nil
-- and a complaint.
local function read_arguments(args)
  local plan, i = {}, 1
  while args[i] and args[i]:sub(1, 1) == "-" and args[i] ~= "-" do
    if args[i] == "--" then
      i = i + 1
      break
    end
    local next_one, message = read_option(plan, args, i)
    if not next_one then return nil, message end
    i = next_one
  end
  plan.script = i
  return plan
end

-- Running

--- An error in words, with its traceback.
local function described(err, traceback)
  local meta = debug.getmetatable(err)
  if type(err) ~= "string" and not (type(meta) == "table" and meta.__tostring) and type(err) ~= "number" then
    return ("(error object is a %s value)"):format(type(err)) .. (traceback and "\n" .. traceback or "")
  end
  local text = core.words(err)
  if not traceback or text:find(traceback, 1, true) then return text end
  return text .. "\n" .. traceback
end

--- Loads the script at args[i], or standard input, and sets `arg` as lua does; its function and arguments, or
-- nil and a complaint.
local function load_script(args, i)
  local script = args[i] or "-"
  local shifted = { [0] = script }
  for k, value in pairs(args) do shifted[k - i] = value end
  _G.arg = shifted
  local chunk, message = loadfile(script ~= "-" and script or nil)
  return chunk, message or table.move(args, i + 1, #args, 1, { n = math.max(#args - i, 0) })
end

--- One function of what goes first and of the script; nil: there is nothing to run.
local function sequence(plan, chunk)
  local steps = table.move(plan, 1, #plan, 1, {})
  steps[#steps + 1] = chunk
  if #steps <= 1 then return steps[1] end
  return function(...)
    for i = 1, #steps - 1 do steps[i]() end
    return steps[#steps](...)
  end
end

--- The status of a script that failed: as a shell has it, after a signal.
local function status_of(err)
  if not asyncio.isinstance(err, asyncio.KeyboardInterrupt) then return 1 end
  return 128 + (core.signal_number(err.signal) or 2)
end

local function run_script(main, args)
  local ok, err, traceback = require "asyncio.runner".run_script(main, table.unpack(args, 1, args.n))
  if ok then return 0 end
  complain(described(err, traceback))
  return status_of(err)
end

local function run_prompts(main, args)
  local first = main and function() main(table.unpack(args, 1, args.n)) end
  return require "asyncio.console".run(first) and 0 or 1
end

local function run_plan(plan, args)
  if plan.versions then print_versions() end
  local given = args[plan.script] ~= nil
  local wants_more = not (given or plan.code or plan.versions) -- as lua decides it
  local prompts = plan.prompts or wants_more and core.isatty(0)
  local chunk, script_args = nil, { n = 0 }
  if given or wants_more and not prompts then
    chunk, script_args = load_script(args, plan.script)
    if not chunk then
      complain(script_args)
      return 1
    end
  end
  local main = sequence(plan, chunk)
  if prompts then return run_prompts(main, script_args) end
  return main and run_script(main, script_args) or 0
end

--- The same with a trace, which is written however the script ends.
local function run_traced(path, plan, args)
  local began, trace = pcall(require "asyncio.tracing".begin, path, args[plan.script] or "asyncio")
  if not began then
    complain("ASYNCIO_TRACE: " .. core.words(trace):gsub("^.-bad argument #1 to 'trace' ", ""))
    return 1
  end
  local status = run_plan(plan, args)
  local written, err = pcall(trace.close, trace)
  if written then return status end
  complain("ASYNCIO_TRACE: " .. core.words(err))
  return status ~= 0 and status or 1
end

--- `asyncio worker --help`, say.
local function asks_for_help(args)
  for i = 2, #args do
    if args[i] == "-h" or args[i] == "--help" then return true end
  end
  return false
end

--- Does what the arguments of the command ask for. `asyncio` is a global from then on.
-- @tparam table args as lua's `arg`
-- @treturn integer the exit status
function command.main(args)
  _G.asyncio = asyncio
  local option = args[1]
  if command.subcommands[option] and not asks_for_help(args) then
    return command.subcommands[option](table.unpack(args, 2))
  elseif option == "-h" or option == "--help" or command.subcommands[option] then
    io.stdout:write(USAGE)
    return 0
  elseif option == "--version" then
    print_versions()
    return 0
  end
  local plan, message = read_arguments(args)
  local trace = os.getenv "ASYNCIO_TRACE"
  if plan and trace and trace ~= "" then return run_traced(trace, plan, args) end
  if plan then return run_plan(plan, args) end
  complain(message:gsub("\n$", ""))
  return 1
end

return command

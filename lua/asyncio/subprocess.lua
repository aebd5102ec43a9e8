--- Processes: programs that are started, talked to, and ended.
-- @module asyncio.subprocess
local check = require "asyncio.check"
local core = require "asyncio.core"
local scopes = require "asyncio.scopes"
local spawning = require "asyncio.spawning"
local timeouts = require "asyncio.timeouts"

local create_task = core.create_task

local subprocess = {}

local KILL_TIMEOUT, DRAIN_GRACE = 5, 1 -- seconds
local PATIENCE = 5                     -- seconds for what was killed to end; then it is reported
local FIRST_PAUSE, LAST_PAUSE = 0.002, 0.05 -- seconds between two looks at a group
local OUTPUTS = { "out", "err" }         -- where what they said is kept
local DRAIN_SIZE = 65536               -- bytes
local LAST_WORDS = 0.1                 -- seconds, for what lies in the pipes of one that has been ended
local LONGEST_TOLD = 200               -- bytes of what a program said last, in an error

local class = core.process_class
local Process = class.methods

-- Its output

--- All that comes stays in the stream until its end: a read that is cancelled has taken nothing.
local function read_all(reader, state, key)
  local rest = reader:read()
  state[key] = state[key] .. rest
end

local function start_reading(reader, state, key)
  if not reader then return nil end
  state[key] = state[key] or ""
  return create_task(read_all, reader, state, key)
end

--- What it said so far on `stdout` (1) or `stderr` (2), as far as anybody has asked; nil: that is no pipe.
local function said(process, which)
  local state = process:_state()
  local key = OUTPUTS[which]
  if state[key] then state[key] = state[key] .. process:_take(which) end
  return state[key]
end

local function feed(process, input)
  local stdin = process.stdin
  if not stdin then
    if input then check.raise "the process has no pipe for its input: stdin = \"pipe\"" end
    return
  end
  if stdin:is_closing() then
    if input then error(core.ClosedError "the process's input has been closed", 0) end
    return
  end
  if input then stdin:write(input) end -- one that reads no more is no error: nobody drains
  stdin:close()
end

--- Waits until `ended` has; what a reader fails with is raised at once. Then the readers have `grace`.
local function wait_for_all(ended, out, err, grace)
  local left = { ended, out }
  left[#left + 1] = err
  while not ended:done() do
    core.wait(left, "FIRST_COMPLETED")
    for i = #left, 1, -1 do
      if left[i]:done() then table.remove(left, i):result() end
    end
  end
  if #left == 0 then return end
  for _, task in ipairs(core.wait(left, "ALL_COMPLETED", grace)) do task:result() end
end

--- Writes `input`, reads all that the process says, and waits until it has ended.
-- Everything goes on at once, so that no pipe can fill up and stop the others; input and output may be large.
-- A process that does not read its input, or closes it, is no error. When it has ended, a child of its own
-- that still holds its pipes holds up this call for `drain_grace` (1 s) at most. Cancelled, or cut short by
-- a limit of time, it keeps what has come, and the next call goes on, without input.
-- @tparam[opt] string input needs `stdin = "pipe"`; with such a pipe and no input the process reads the end
-- @treturn ?string what it wrote to its standard output; nil where that is no pipe
-- @treturn ?string likewise to its standard error
-- @function Process:communicate
-- @usage
-- local sort <close> = asyncio.create_subprocess_exec("sort", { stdin = "pipe", stdout = "pipe" })
-- print((sort:communicate("tea\ncoffee\n"):gsub("\n", ";"))) --> coffee;tea;
function Process:communicate(input)
  check.self(self, class, "communicate")
  if input ~= nil and type(input) ~= "string" then check.fail(1, "communicate", "string or nil", input) end
  if not core.can_wait() then core.spend() end -- says why
  self:_check()
  self:_claim() -- before anything is written
  feed(self, input)
  local state = self:_state()
  if not self.stdout and not self.stderr then
    self:_wait()
    return nil, nil
  end
  do
    local ended <close> = create_task(self._wait, self)
    local out <close> = start_reading(self.stdout, state, "out")
    local err <close> = start_reading(self.stderr, state, "err")
    wait_for_all(ended, out, err, state.drain_grace or DRAIN_GRACE)
  end
  return said(self, 1), said(self, 2)
end

-- Its end

--- Whether it is there to be signalled.
local function signal(process, name)
  local ok, hit = pcall(process.send_signal, process, name)
  return not ok or hit -- a user's that we may not end: EPERM
end

--- Waits until it has ended, and with it all of the group that it leads; whether that is so before the
-- deadline. killed: where nobody knows whether the group has ended, it has
local function wait_until(process, deadline, killed)
  local loop = core.get_running_loop()
  if not process:_ended() then
    timeouts.move_on_after(deadline - loop:time(), process._wait, process, true)
  end
  local pause = FIRST_PAUSE
  while process:_ended() do
    local lives = process:_lives()
    if lives == false or lives == nil and killed then return true end
    if loop:time() >= deadline then break end
    core.sleep(pause)
    pause = math.min(2 * pause, LAST_PAUSE)
  end
  return false
end

--- It is killed, and waited for, whatever is asked of this task meanwhile, but for a second Ctrl-C.
local function kill(process)
  local loop = core.get_running_loop()
  local _ <close> = scopes.shielded()
  local deadline = loop:time() + PATIENCE
  for i = 1, 3 do -- a member of the group may just have made another
    signal(process, "SIGKILL")
    if wait_until(process, i < 3 and math.min(deadline, loop:time() + 1) or deadline, true) then return end
  end
  loop:call_exception_handler {
    message = ("%s does not end, %d s after it was killed"):format(tostring(process), PATIENCE),
  }
end

--- Its status was taken before we had a pidfd of it: nothing says whose the number of its group is.
local function report_lost(process)
  core.get_running_loop():call_exception_handler {
    message = tostring(process) .. " may have left others of its group, which cannot be told from strangers",
  }
  return true
end

local function end_kindly(process)
  if not signal(process, "SIGTERM") and process:_ended() then
    return process:_lives() == false or report_lost(process)
  end
  return wait_until(process, core.get_running_loop():time() + (process:_state().kill_timeout or KILL_TIMEOUT))
end

local function is_over(process) return process:_ended() and process:_lives() == false end

--- What it says while it ends is read, so that it need not end of nobody reading; kept where somebody has
-- asked for all of it.
local function drain(reader, state, key)
  if state[key] then return read_all(reader, state, key) end
  repeat local part = reader:read(DRAIN_SIZE) until not part
end

local function drain_quietly(...) pcall(drain, ...) end -- another task may be reading, or it is closed

local function start_draining(reader, state, key)
  if reader then return create_task(drain_quietly, reader, state, key) end
end

local function end_it(self)
  local state = self:_state()
  local out <close> = start_draining(self.stdout, state, "out")
  local err <close> = start_draining(self.stderr, state, "err")
  local ok, ended = core.catch(end_kindly, self)
  if not ok or not ended then kill(self) end
  if not ok then error(ended, 0) end
  local rest = { state.err and err or nil }
  if state.out then table.insert(rest, 1, out) end
  if #rest == 0 then return end
  core.wait(rest, "ALL_COMPLETED", math.min(state.drain_grace or DRAIN_GRACE, LAST_WORDS))
end

--- Leaving the block closes its input and ends it: SIGTERM, after `kill_timeout` (5 s) SIGKILL; with a group
-- of its own the whole group. What it says meanwhile is read, and dropped; then its pipes are closed. A
-- cancellation, or Ctrl-C, meanwhile kills at once. One that has ended already is no more than closed.
function class:__close()
  if core.can_wait() then self:_check() end
  self:_close_pipes "input"
  local over, ok, err = is_over(self), true, nil
  if not over then
    if core.can_wait() then
      self:_end() -- from here on not even a second Ctrl-C, after which no Lua runs, leaves it behind
      ok, err = core.catch(end_it, self)
    else
      signal(self, "SIGTERM")
    end
  end
  self:_close_pipes(over and "" or "drained")
  self:_release()
  if not ok then error(err, 0) end
end

-- Starting

local DETACH = { "detach", "boolean" }
local EXEC_OPTIONS = spawning.options("create_subprocess_exec", 2, { "argv0", "string" }, DETACH)
local SHELL_OPTIONS = spawning.options("create_subprocess_shell", 2, { "args", "list" }, DETACH)
local RUN_OPTIONS = spawning.options("run_process", 2, { "args", "list" }, { "argv0", "string" },
  { "input", "string" }, { "capture", "boolean" }, { "check", "boolean" }, { "timeout", "timeout" })

local function is_table(value) return type(value) == "table" and getmetatable(value) == nil end

--- `program, arg, …, opts` → argv, opts, which argument the options are.
local function exec_arguments(name, ...)
  local n, first = select("#", ...), ...
  if is_table(first) then return spawning.list(name, first), (select(2, ...)), 2 end
  local list = { ... }
  if n > 1 and list[n] == nil then n = n - 1 end -- no options
  local opts = n > 1 and is_table(list[n]) and list[n] or nil
  local argv = spawning.arguments(name, list, opts and n - 1 or math.max(n, 1), 1)
  return argv, opts, n
end

--- Starts a program, without a shell: its arguments are passed on as they are.
-- A name without a slash is looked up in the program's PATH. What cannot be started is raised here:
-- FileNotFoundError for a program, its interpreter or `cwd` (`path` says which), PermissionError, OSError
-- ENOEXEC for a script that names no interpreter.
--
-- The program inherits its standard streams and what `pass_fds` names, no other descriptor; all signals are
-- as by default. What was written to our own standard output comes before what it writes there.
-- @string program
-- @tparam[opt] string|number ... arguments; or program and arguments in one list
-- @tparam[opt] table opts
--
-- - `stdin`, `stdout`, `stderr`: `"pipe"` (a stream of the Process), `"null"`, `"inherit"` (the default), a
--   descriptor, a file (`asyncio.open`'s or `io`'s): what was written there goes first, and both have one
--   position; or a stream of ours: what is written there goes first, and it is closed here;
--   `stderr = "stdout"`: both are one
-- - `cwd`: its folder; `env`: its whole environment, a table; `extra_env`: what is added to ours, or
--   replaced, or with `false` removed; `argv0`: what it is told that its name is
-- - `pass_fds`: a list of descriptors that it has under the same numbers, or a table `{[3] = …}` of
--   descriptors, files and streams by their numbers there
-- - `new_session` (false); `process_group`: 0: a group of its own, n: it joins that one; `umask` (`"022"`),
--   `uid`, `gid`: numbers, with either the supplementary groups go
-- - `limit` (65536): of the streams; `kill_timeout` (5 s): see `<close>`; `drain_grace` (1 s): see
--   `communicate`; `detach` (false): it may be left running
-- @treturn Process
-- @usage
-- local pipes = { stdin = "pipe", stdout = "pipe" }
-- local process <close> = asyncio.create_subprocess_exec("tr", "a-z", "A-Z", pipes)
-- process.stdin:write "hello\n"
-- process.stdin:close()
-- print(process.stdout:readexactly(5), process:wait()) --> HELLO  0
function subprocess.create_subprocess_exec(...)
  local argv, opts, arg = exec_arguments("create_subprocess_exec", ...)
  opts = EXEC_OPTIONS(opts, arg)
  return spawning.start({ name = "create_subprocess_exec", arg = arg }, argv, argv, opts)
end

local function shell_argv(name, script, opts)
  if script:find("\0", 1, true) then check.error(1, name, "a zero byte, which no program can be given") end
  local argv = { "/bin/sh", "-c", "--", script, "sh" }
  local args = opts.args and spawning.script_arguments(name, opts.args) or {}
  return table.move(args, 1, #args, #argv + 1, argv)
end

--- Starts a script of the shell, `/bin/sh`.
-- What comes from elsewhere belongs in `args`, as `$1`, `$2`, …, `"$@"`: there nothing needs to be quoted.
-- @string script
-- @tparam[opt] table opts `args`: a list of strings and numbers; and as `create_subprocess_exec`'s: `stdin`,
-- `stdout`, `stderr`, `cwd`, `env`, `extra_env`, `pass_fds`, `new_session`,
-- `process_group`, `umask`, `uid`, `gid`, `limit`, `kill_timeout`, `drain_grace`, `detach`
-- @treturn Process
-- @usage
-- local opts = { args = { "it's" }, stdout = "pipe" }
-- local process <close> = asyncio.create_subprocess_shell('echo "$1" | wc -c', opts)
-- print(tonumber(process.stdout:readline())) --> 5
function subprocess.create_subprocess_shell(script, opts)
  if type(script) ~= "string" then check.fail(1, "create_subprocess_shell", "string", script) end
  opts = SHELL_OPTIONS(opts)
  local argv = shell_argv("create_subprocess_shell", script, opts)
  return spawning.start({ name = "create_subprocess_shell", arg = 2 }, argv, script, opts)
end

-- Running to the end

local function how_it_ended(code)
  if code >= 0 then return ("ended with %d"):format(code) end
  return ("was ended by signal %s"):format(core.signal_name(-code) or -code)
end

--- The last line that it said, for people.
local function last_words(text)
  local line = text and text:match "([^\n]*)\n*$" or ""
  if line == "" then return "" end
  return ": " .. (#line <= LONGEST_TOLD and line or line:sub(1, LONGEST_TOLD) .. "...")
end

local function name_of(args)
  return spawning.name_of(type(args) == "table" and args or { args }, LONGEST_TOLD)
end

local function raise_failure(result)
  result.message = ("'%s' %s%s"):format(name_of(result.args), how_it_ended(result.returncode),
    last_words(result.stderr))
  error(core.CalledProcessError(result), 0)
end

local function with_stdio(opts)
  if opts.capture then
    opts.stdout = opts.stdout or "pipe"
    opts.stderr = opts.stderr or "pipe"
  end
  local function fail(text) check.error(2, "run_process", text) end
  if opts.input and opts.stdin then fail "'input' and 'stdin' exclude each other" end
  if opts.stdin == "pipe" then fail "'stdin': what is to be written there is 'input'" end
  opts.stdin = opts.stdin or opts.input and "pipe" or "null"
end

--- Until it has ended.
local function run_to_end(process, opts)
  if process.stdin or process.stdout or process.stderr then
    process:communicate(opts.input)
  else
    process:_wait()
  end
  return true
end

--- Whether it has ended in time.
local function run_in_time(process, opts)
  if not opts.timeout then return run_to_end(process, opts) end
  return (timeouts.move_on_after(opts.timeout, run_to_end, process, opts))
end

--- Runs a program, or a script of the shell, to its end.
-- When the caller is cancelled, or the time is up, it is ended as by a Process's `<close>`. One that fails
-- raises, unless `check = false`.
-- @tparam table|string command `{program, arg, …}`, or a script
-- @tparam[opt] table opts as those of `create_subprocess_exec` (`argv0`), or `create_subprocess_shell`
-- (`args`): `stdin`, `stdout`, `stderr`, `cwd`, `env`, `extra_env`, `pass_fds`, `new_session`,
-- `process_group`, `umask`, `uid`, `gid`, `limit`, `kill_timeout`, `drain_grace`; and
--
-- - `input`: what it reads; without it, and `stdin`, that is empty
-- - `capture` (false): its output and errors are returned; `stdout = "pipe"`, `stderr = "pipe"`: one of them
-- - `check` (true): CalledProcessError unless it ends with 0; `timeout`: seconds, then TimeoutError. Both
--   have `stdout`, `stderr`, `args`
-- @treturn table `returncode` (of a signal: negative), `stdout`, `stderr`, `args`
-- @usage
-- local result = asyncio.run_process({ "wc", "-c" }, { input = "hello", capture = true })
-- print(result.returncode, tonumber(result.stdout)) --> 0  5
-- print(select(2, pcall(asyncio.run_process, "exit 3"))) --> CalledProcessError: 'exit 3' ended with 3
function subprocess.run_process(command, opts)
  local is_list = is_table(command)
  if not is_list and type(command) ~= "string" then
    check.fail(1, "run_process", "list {program, arg, ...} or script", command)
  end
  if type(opts) == "string" then
    local text = "table of options expected, got string: its arguments stand in the list, {program, arg, ...}"
    check.error(2, "run_process", text)
  end
  opts = RUN_OPTIONS(opts)
  with_stdio(opts)
  local wrong = is_list and opts.args and "'args' are a script's: a program's stand in the list"
    or not is_list and opts.argv0 and "'argv0' is a program's, not a script's"
  if wrong then check.error(2, "run_process", wrong) end
  local argv = is_list and spawning.list("run_process", command)
    or shell_argv("run_process", command, opts)
  local args = is_list and argv or command
  if not core.can_wait() then core.spend() end -- says why
  local process = spawning.start({ name = "run_process", arg = 2 }, argv, args, opts)
  local in_time
  do
    local _ <close> = process
    in_time = run_in_time(process, opts)
  end
  local result = { stdout = said(process, 1), stderr = said(process, 2), args = args }
  if not in_time then
    result.message = ("'%s' took longer than %g s"):format(name_of(args), opts.timeout)
    error(core.TimeoutError(result), 0)
  end
  local ok, code = pcall(process.returncode, process)
  if not ok then -- somebody else has taken it
    code.stdout, code.stderr, code.args = result.stdout, result.stderr, args
    error(code, 0)
  end
  result.returncode = code
  if result.returncode ~= 0 and opts.check ~= false then raise_failure(result) end
  return result
end

return subprocess

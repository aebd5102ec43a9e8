-- Programs are started: arguments, the environment, what a child inherits, and what goes wrong.
local t = require "helper"
local program = require "program"
local asyncio = t.asyncio

TestProgram = {}
TestShell = {}
TestEnvironment = {}
TestInheritance = {}
TestCannotStart = {}
TestWrongArguments = {}

--- What a program prints.
local function output_of(command, opts)
  opts = opts or {}
  opts.stdout = opts.stdout or "pipe"
  return asyncio.run_process(command, opts).stdout
end

-- a program and its arguments

function TestProgram:test_gets_its_arguments_as_they_are()
  t.real(function()
    t.assertEquals(output_of { "printf", "%s|", "a b", "$HOME", "'", "", 3, 1.5 }, "a b|$HOME|'||3|1.5|")
  end)
end

function TestProgram:test_is_given_as_a_list_or_as_arguments_with_options_or_without()
  t.real(function()
    local a <close> = asyncio.create_subprocess_exec("true")
    local b <close> = asyncio.create_subprocess_exec { "true" }
    local e <close> = asyncio.create_subprocess_exec("true", nil)
    t.assertEquals(e:wait(), 0)
    local c <close> = asyncio.create_subprocess_exec("true", { stdout = "null" })
    local d <close> = asyncio.create_subprocess_exec({ "true", "x" }, { stdout = "null" })
    for _, process in ipairs { a, b, c, d } do t.assertEquals(process:wait(), 0) end
    t.assertEquals(d.args, { "true", "x" })
  end)
end

function TestProgram:test_has_the_pid_that_it_sees_itself()
  t.real(function()
    local process <close> = asyncio.create_subprocess_shell("echo $$", { stdout = "pipe" })
    t.assertEquals(tonumber(process.stdout:readline()), process.pid)
  end)
end

function TestProgram:test_is_looked_up_in_the_PATH_that_it_gets()
  t.real(function()
    local folder = os.tmpname()
    os.remove(folder)
    os.execute(("mkdir %s && printf '#!/bin/sh\necho mine' >%s/ls && chmod +x %s/ls"):format(folder, folder, folder))
    t.assertEquals(output_of({ "ls" }, { extra_env = { PATH = folder .. ":/bin" } }), "mine\n")
    t.assertEquals(output_of({ "ls" }, { extra_env = { PATH = "./sub:" }, cwd = folder }), "mine\n") -- "": cwd
    t.assertEquals(output_of({ "./ls" }, { cwd = folder }), "mine\n")
    t.assertEquals(output_of({ "pwd" }, { env = {} }), output_of { "pwd" }) -- without one a default is used
    os.execute("rm -r " .. folder)
  end)
end

function TestProgram:test_goes_past_what_may_not_be_run()
  t.real(function()
    local folder = os.tmpname()
    os.remove(folder)
    os.execute(("mkdir -p %s/a/date %s/b"):format(folder, folder)) -- a folder of that name: EACCES
    local env = { PATH = ("%s/a:%s/b:/usr/bin:/bin"):format(folder, folder) }
    t.assertStrMatches(output_of({ "date", "+%Y" }, { extra_env = env }), "%d+\n")
    env.PATH = folder .. "/a:" .. folder .. "/b"
    local err = t.assert_raises(asyncio.PermissionError, asyncio.run_process, { "date" }, { extra_env = env })
    t.assertEquals({ err.code, err.path }, { "EACCES", "date" })
    os.execute("rm -r " .. folder)
  end)
end

function TestProgram:test_can_be_told_another_name()
  t.real(function()
    t.assertEquals(output_of({ "sh", "-c", "echo $0" }, { argv0 = "other" }), "other\n")
  end)
end

function TestProgram:test_runs_in_its_folder()
  t.real(function() t.assertEquals(output_of({ "pwd" }, { cwd = "/" }), "/\n") end)
end

-- the shell

function TestShell:test_runs_a_script()
  t.real(function()
    local process <close> = asyncio.create_subprocess_shell("echo $((1 + 2)); exit 4", { stdout = "pipe" })
    t.assertEquals(process.stdout:read(-1), "3\n")
    t.assertEquals(process:wait(), 4)
    t.assertEquals(process.args, "echo $((1 + 2)); exit 4")
  end)
end

function TestShell:test_gets_arguments_that_need_no_quotes()
  t.real(function()
    local args = { "it's", "a b", "$HOME; exit 1", 7 }
    t.assertEquals(output_of('printf "%s|" "$@"; echo $#', { args = args }), "it's|a b|$HOME; exit 1|7|4\n")
  end)
end

function TestShell:test_takes_a_script_that_looks_like_an_option()
  t.real(function()
    t.assertEquals(asyncio.run_process("-x 2>/dev/null || exit 9", { check = false }).returncode, 9)
  end)
end

-- the environment

function TestEnvironment:test_is_ours_with_what_is_added_and_less_what_is_removed()
  t.real(function()
    local env = { SPEC_A = "a=b", SPEC_N = 5, HOME = false }
    t.assertEquals(output_of('echo "$SPEC_A $SPEC_N ${HOME-none} ${PATH:+path}"', { extra_env = env }),
      "a=b 5 none path\n")
  end)
end

function TestEnvironment:test_is_all_that_is_said()
  t.real(function()
    local lines = {}
    for line in output_of({ "env" }, { env = { B = "2", A = "1" } }):gmatch "[^\n]+" do lines[#lines + 1] = line end
    table.sort(lines)
    t.assertEquals(lines, { "A=1", "B=2" })
    t.assertEquals(output_of({ "env" }, { env = {}, extra_env = { C = "" } }), "C=\n")
  end)
end

-- what a child inherits

--- The descriptors of a child, as /proc has them, and how many there are.
local function descriptors(opts)
  opts = opts or {}
  opts.stdout = "pipe"
  local process <close> = asyncio.create_subprocess_exec({ "sh", "-c", "ls /proc/$$/fd" }, opts)
  local list = {}
  for fd in process.stdout:read(-1):gmatch "%d+" do list[#list + 1] = tonumber(fd) end
  table.sort(list)
  return table.concat(list, " ") .. " "
end

function TestInheritance:test_are_0_1_and_2_and_nothing_else()
  t.real(function()
    local file <close> = assert(io.open("/dev/null")) -- Lua opens it without close-on-exec
    local pipe <close> = assert(io.popen "cat >/dev/null; sleep 0")
    local server <close> = asyncio.start_server(function() end, "127.0.0.1", 0)
    t.assertEquals(descriptors(), "0 1 2 ")
    t.assertEquals(descriptors { stdin = "pipe", stderr = "pipe" }, "0 1 2 ")
    t.assertNotNil(file and pipe and server)
  end)
end

function TestInheritance:test_are_those_that_are_passed()
  t.real(function()
    local file <close> = assert(io.tmpfile())
    file:write "hello" -- is flushed
    local fd = t.fd_of(file)
    t.assertEquals(descriptors { pass_fds = { fd } }, ("0 1 2 %d "):format(fd))
    t.assertEquals(descriptors { pass_fds = { [3] = file, [100] = fd } }, "0 1 2 3 100 ")
    file:seek "set"
    t.assertEquals(output_of("cat <&7", { pass_fds = { [7] = file } }), "hello")
  end)
end

function TestInheritance:test_may_change_places()
  t.real(function()
    local a <close> = assert(io.tmpfile())
    local b <close> = assert(io.tmpfile())
    a:write "a"
    b:write "b"
    a:seek "set"
    b:seek "set"
    local x, y = t.fd_of(a), t.fd_of(b)
    local script = ("cat <&%d; cat <&%d"):format(x, y)
    if x <= 9 and y <= 9 then t.assertEquals(output_of(script, { pass_fds = { [x] = b, [y] = a } }), "ba") end
    t.assertEquals(output_of("cat <&3; cat <&4", { pass_fds = { [3] = y, [4] = x } }), "ba")
  end)
end

function TestInheritance:test_of_signals_is_that_all_are_as_by_default()
  local out = t.lua [[
    local asyncio = require "asyncio"
    asyncio.run(function()
      asyncio.get_running_loop():add_signal_handler("SIGUSR1", function() end)
      local status = asyncio.run_process({ "cat", "/proc/self/status" }, { capture = true }).stdout
      print((status:match "SigBlk.-SigCgt[^\n]*"))
    end)
  ]]
  local zero = "%s0+\n"
  t.assertStrMatches(out, "SigBlk:" .. zero .. "SigIgn:" .. zero .. "SigCgt:" .. zero)
end

function TestInheritance:test_of_ignored_signals_is_undone()
  local out = program.shell([[trap '' PIPE INT HUP; %s -e 'local asyncio = require "asyncio"
    asyncio.run(function()
      print((asyncio.run_process({ "grep", "^SigIgn", "/proc/self/status" }, { capture = true }).stdout))
    end)' 2>&1]], program.checked_lua)
  t.assertStrMatches(out, "SigIgn:%s0+\n\n")
end

function TestInheritance:test_of_the_umask_can_be_changed()
  t.real(function()
    t.assertStrMatches(output_of("umask", { umask = "027" }), "0*27\n")
    t.assertStrMatches(output_of("umask", { umask = 63 }), "0*77\n")
    t.assertEquals(output_of "umask", output_of("umask", {})) -- ours is as it was
  end)
end

function TestInheritance:test_of_the_session_and_the_group_can_be_ended()
  t.real(function()
    local script = "echo $$ $(ps -o sid= -p $$) $(ps -o pgid= -p $$)"
    local pid, sid, pgid, _
    pid, sid, pgid = output_of(script, { new_session = true }):match "(%d+) (%d+) (%d+)"
    t.assertEquals({ sid, pgid }, { pid, pid })
    pid, sid, pgid = output_of(script, { process_group = 0 }):match "(%d+) (%d+) (%d+)"
    t.assertEquals(pgid, pid)
    t.assertNotEquals(sid, pid)
    local leader <close> = asyncio.create_subprocess_exec("sleep", 60, { process_group = 0 })
    _, _, pgid = output_of(script, { process_group = leader.pid }):match "(%d+) (%d+) (%d+)"
    t.assertEquals(tonumber(pgid), leader.pid)
  end)
end

function TestInheritance:test_of_user_and_groups_can_be_given_up()
  t.real(function()
    if output_of { "id", "-u" } ~= "0\n" then t.skip "only root can be somebody else" end
    t.assertEquals(output_of("echo $(id -u) $(id -g) $(id -G)", { uid = 65534, gid = 65533 }), "65534 65533 65533\n")
  end)
end

-- what cannot be started

function TestCannotStart:test_a_program_that_is_not_there()
  t.real(function()
    for _, name in ipairs { "no-such-program", "/no/such/program", "./no" } do
      local err = t.assert_raises(asyncio.FileNotFoundError, asyncio.create_subprocess_exec, name)
      t.assertEquals({ err.code, err.syscall, err.path }, { "ENOENT", "exec", name })
      t.assertEquals(tostring(err), "[ENOENT] no such file or directory: exec " .. name)
    end
  end)
end

function TestCannotStart:test_a_folder_that_is_not_there_is_told_from_the_program()
  t.real(function()
    local err = t.assert_raises(asyncio.FileNotFoundError, asyncio.run_process, { "true" }, { cwd = "/no/such" })
    t.assertEquals({ err.syscall, err.path }, { "chdir", "/no/such" })
    err = t.assert_raises(asyncio.NotADirectoryError, asyncio.run_process, { "true" }, { cwd = "/dev/null" })
    t.assertEquals(err.path, "/dev/null")
  end)
end

local function script_with(text, mode)
  local name = program.file_with(text)
  os.execute(("chmod %s %s"):format(mode or "755", name))
  return name
end

function TestCannotStart:test_a_script_whose_interpreter_is_not_there()
  t.real(function()
    local name = script_with "#!/no/such/interpreter\n"
    local err = t.assert_raises(asyncio.FileNotFoundError, asyncio.run_process, { name })
    t.assertEquals(err.path, name)
    t.assertStrContains(tostring(err), "the interpreter of " .. name)
    os.remove(name)
  end)
end

function TestCannotStart:test_a_script_that_names_no_interpreter()
  t.real(function()
    local name = script_with "echo hello\n"
    local err = t.assert_raises(asyncio.OSError, asyncio.run_process, { name })
    t.assertEquals({ err.code, err.path }, { "ENOEXEC", name })
    os.remove(name)
  end)
end

function TestCannotStart:test_a_file_that_is_no_program()
  t.real(function()
    local name = script_with("#!/bin/sh\n", "644")
    local err = t.assert_raises(asyncio.PermissionError, asyncio.run_process, { name })
    t.assertEquals({ err.code, err.path }, { "EACCES", name })
    os.remove(name)
    t.assert_raises(asyncio.PermissionError, asyncio.run_process, { "/" })
  end)
end

function TestCannotStart:test_too_many_arguments()
  t.real(function()
    local err = t.assert_raises(asyncio.OSError, asyncio.run_process, { "true", ("x"):rep(4000000) })
    t.assertEquals(err.code, "E2BIG")
  end)
end

function TestCannotStart:test_with_a_descriptor_that_is_none()
  t.real(function()
    local err = t.assert_raises(asyncio.OSError, asyncio.run_process, { "true" }, { stdin = 999 })
    t.assertEquals({ err.code, err.syscall }, { "EBADF", "dup2" })
    t.assertStrContains(tostring(err), "999, which was to be 0 there")
    err = t.assert_raises(asyncio.OSError, asyncio.run_process, { "true" }, { pass_fds = { [5] = 999 } })
    t.assertStrContains(tostring(err), "999, which was to be 5 there")
    t.assert_raises(asyncio.OSError, asyncio.run_process, { "true" }, { pass_fds = { [(1 << 31) - 1] = 0 } })
  end)
end

function TestCannotStart:test_without_descriptors_names_the_call()
  local script = program.file_with [[
    local asyncio = require "asyncio"
    asyncio.run(function()
      asyncio.run_process { "true" } -- the modules are there
      local files, file = {}
      repeat
        file = io.open "/dev/null"
        files[#files + 1] = file
      until not file
      for _, opts in ipairs { { stdin = "inherit", stdout = "pipe" }, { stdin = "inherit" }, { stdin = "null" } } do
        local ok, err = pcall(asyncio.run_process, { "true" }, opts)
        print(err.code, err.syscall)
      end
    end)
  ]]
  t.assertEquals(program.shell("ulimit -n 64; timeout 60 %s %s 2>&1", program.checked_lua, script),
    "EMFILE\tpipe\nEMFILE\tpipe\nEMFILE\topen\n")
  os.remove(script)
end

function TestInheritance:test_reaches_to_the_highest_descriptor()
  local script = program.file_with [[
    local asyncio = require "asyncio"
    asyncio.run(function()
      local file <close> = io.tmpfile()
      for _, fds in ipairs { { [63] = file }, { [62] = file }, { [62] = file, [63] = file, [3] = file } } do
        asyncio.run_process("true >&3 || true", { pass_fds = fds, stderr = "null" })
      end
      print "done"
    end)
  ]]
  t.assertEquals(program.shell("ulimit -n 64; timeout 60 %s %s 2>&1", program.checked_lua, script), "done\n")
  os.remove(script)
end

function TestCannotStart:test_is_told_whatever_numbers_the_program_was_to_have()
  t.real(function()
    local file <close> = assert(io.open "/dev/null")
    for fd = 3, 40 do
      t.assert_raises(asyncio.FileNotFoundError, asyncio.run_process, { "/no-such" }, { pass_fds = { [fd] = file } })
    end
  end)
end

function TestCannotStart:test_in_a_group_that_is_not_ours()
  t.real(function()
    local err = t.assert_raises(asyncio.PermissionError, asyncio.run_process, { "true" }, { process_group = 1 })
    t.assertEquals(err.syscall, "setpgid")
  end)
end

function TestCannotStart:test_leaves_no_descriptor_and_no_zombie()
  t.real(function()
    local function count()
      for _ = 1, 3 do
        t.collect()
        asyncio.sleep(0.001)
      end
      return select(2, asyncio.run_process("ls /proc/$PPID/fd", { capture = true }).stdout:gsub("\n", ""))
    end
    count()
    local before = count()
    for _ = 1, t.count(200) do
      pcall(asyncio.create_subprocess_exec, "no-such", { stdin = "pipe", stdout = "pipe", stderr = "pipe" })
    end
    t.wait_until(function() return count() == before end) -- a thread may be about to close its own
    t.assertEquals(t.zombies(), 0)
  end)
end

function TestCannotStart:test_without_descriptors_left()
  local out, err = t.lua [[
    local asyncio = require "asyncio"
    asyncio.run(function()
      asyncio.run_process { "true" }
      local files = {}
      repeat
        local file = io.open "/dev/null"
        files[#files + 1] = file
      until not file
      for left = 0, 12 do
        for _ = 1, 20 do
          local ok, err = pcall(asyncio.run_process, { "true" }, { capture = true, input = "x" })
          if not ok and err.code ~= "EMFILE" then print(err) end
          if ok and left < 5 then print("odd", left) end
        end
        table.remove(files):close()
      end
      print(asyncio.run_process({ "echo", "fine" }, { capture = true }).stdout)
    end)
  ]]
  t.assertEquals({ out, err }, { "fine\n\n", "" })
end

-- wrong arguments

local function assert_bad(message, fn, ...)
  local err = tostring(t.error_of(fn, ...))
  t.assertStrContains(err, "bad argument")
  t.assertStrContains(err, message)
end

function TestWrongArguments:test_of_programs()
  t.real(function()
    local exec, run, shell = asyncio.create_subprocess_exec, asyncio.run_process, asyncio.create_subprocess_shell
    assert_bad("#1 to 'create_subprocess_exec' (string or number expected, got nil)", exec)
    assert_bad("#2 to 'create_subprocess_exec' (string or number expected, got nil)", exec, "true", nil, "x")
    assert_bad("#2 to 'create_subprocess_exec' (string or number expected, got table)", exec, "true", {}, "x")
    assert_bad("#1 to 'create_subprocess_exec' (the program's name is empty)", exec, "")
    assert_bad("zero byte", exec, "tr\0ue")
    assert_bad("the program is missing", exec, {})
    assert_bad("has no 'cwd': options stand in a table of their own", run, { "true", cwd = "/" })
    assert_bad("#3 to 'create_subprocess_exec' (unknown option 'cmd'", exec, "true", "x", { cmd = "/" })
    assert_bad("#1 to 'run_process' (list {program, arg, ...} or script expected, got nil)", run)
    assert_bad("#1 to 'create_subprocess_shell' (string expected, got table)", shell, { "true" })
    assert_bad("zero byte", shell, "echo \0")
    assert_bad("list of strings and numbers expected, got boolean", shell, "echo", { args = { true } })
  end)
end

function TestWrongArguments:test_of_options()
  t.real(function()
    local function bad(message, opts) assert_bad(message, asyncio.run_process, { "true" }, opts) end
    bad("'stdout': \"pipe\", \"null\", \"inherit\", descriptor, file or stream expected, got \"stdout\"",
      { stdout = "stdout" })
    bad("got -1)", { stdin = -1 })
    bad("got 1.5)", { stdin = 1.5 })
    bad("'cwd': the folder's name is empty", { cwd = "" })
    bad("'stderr': ", { stderr = {} })
    bad("'cwd': it holds a zero byte", { cwd = "/\0" })
    bad("'env': A=B is no name of a variable", { env = { ["A=B"] = "" } })
    bad("'env': A is a string or a number, got boolean", { env = { A = false } })
    bad("'extra_env': A is a string or a number, or false, got boolean", { extra_env = { A = true } })
    bad("'extra_env': 1 is no name of a variable", { extra_env = { "x" } })
    bad("'env': it holds a zero byte", { env = { A = "\0" } })
    bad("'umask': a mode expected", { umask = "999" })
    bad("'umask': a mode expected", { umask = 512 })
    bad("'pass_fds': ", { pass_fds = { "x" } })
    bad("'pass_fds': 1 is stdout", { pass_fds = { 1 } })
    bad("'pass_fds': ", { pass_fds = { [3] = true } })
    bad("'process_group': the leader of a new session", { new_session = true, process_group = 0 })
    bad("'input' and 'stdin' exclude each other", { input = "x", stdin = "null" })
    bad("what is to be written there is 'input'", { stdin = "pipe" })
    bad("'args' are a script's", { args = { "x" } })
    assert_bad("'argv0' is a program's", asyncio.run_process, "true", { argv0 = "x" })
    local file = io.tmpfile()
    file:close()
    bad("'stdin': the file is closed", { stdin = file })
  end)
end

-- valgrind does not come back from an exec that fails so late
t.leave_out(TestCannotStart, "valgrind", "test_a_script_whose_interpreter_is_not_there", "test_too_many_arguments")

-- It keeps the highest descriptors to itself, and doesn't survive a clone that finds no descriptor for its pidfd.
t.leave_out(TestInheritance, "valgrind", "test_reaches_to_the_highest_descriptor")
t.leave_out(TestCannotStart, "valgrind", "test_without_descriptors_left")

t.finish { sampled = true }

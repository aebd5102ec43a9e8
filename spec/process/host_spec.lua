-- Processes in hosts with ways of their own: who wait for children, ignore SIGCHLD, fork, or have no pidfds.
local t = require "helper"
local program = require "program"
local asyncio = t.asyncio

TestStatus = {}
TestSignals = {}
TestTerminals = {}
TestLess = {}

--- A program in C that ignores SIGCHLD, or waits for whatever child ends, and runs a Lua script.
local HOST = [[
#include <lauxlib.h>
#include <lualib.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <errno.h>
#include <sys/wait.h>
#ifdef __linux__
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#endif
#include <unistd.h>
static int reap(lua_State *L) { lua_pushinteger(L, waitpid(-1, NULL, 0)); return 1; }
static int ignore(lua_State *L) { (void)L; signal(SIGCHLD, SIG_IGN); return 0; }
static int fork_(lua_State *L) { lua_pushinteger(L, fork()); return 1; }
static int exit_(lua_State *L) { _exit((int)luaL_checkinteger(L, 1)); return 0; }
static int wait_(lua_State *L) {
  int s;
  waitpid((int)luaL_checkinteger(L, 1), &s, 0);
  lua_pushinteger(L, WEXITSTATUS(s));
  return 1;
}
static int reuse(lua_State *L) { /* another child, which has that pid and leads a group; a stranger may get it first */
  int pid = (int)luaL_checkinteger(L, 1), child = -1;
  for (int i = 0; i < 20000 && child != pid; i++) {
    FILE *f = fopen("/proc/sys/kernel/ns_last_pid", "w");
    if (!f || fprintf(f, "%d", pid - 1) < 0 || fclose(f)) return 0;
    if ((child = fork()) == 0) {
      setpgid(0, 0);
      for (;;) pause();
    }
    setpgid(child, child);
    if (child != pid) {
      kill(child, SIGKILL);
      waitpid(child, NULL, 0);
      if (i > 100) usleep(1000);
    }
  }
  lua_pushboolean(L, child == pid);
  return 1;
}
static int end(lua_State *L) { /* whether it has lived, and its status was still there */
  int pid = (int)luaL_checkinteger(L, 1), s = 0;
  kill(pid, SIGUSR1);
  lua_pushboolean(L, waitpid(pid, &s, 0) == pid && WIFSIGNALED(s) && WTERMSIG(s) == SIGUSR1);
  return 1;
}
static int old_kernel(lua_State *L) { /* that can't signal groups by a pidfd; "late": nor is there one for what runs */
#if defined(__linux__) && defined(SYS_pidfd_send_signal) && defined(SYS_pidfd_open) && \
    __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
  int late = lua_toboolean(L, 1);
#define FIELD(name) BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, name))
#define UNLESS(k, n) BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, k, 0, n)
#define GIVE(what) BPF_STMT(BPF_RET | BPF_K, what)
  struct sock_filter code[] = {
      FIELD(nr), UNLESS(SYS_pidfd_open, 1), GIVE(late ? SECCOMP_RET_ERRNO | ESRCH : SECCOMP_RET_ALLOW),
      UNLESS(SYS_pidfd_send_signal, 3), FIELD(args[3]), UNLESS(4, 1),
      GIVE(late ? SECCOMP_RET_ALLOW : SECCOMP_RET_ERRNO | EINVAL), GIVE(SECCOMP_RET_ALLOW)};
  struct sock_fprog program = {sizeof code / sizeof *code, code};
  lua_pushboolean(L, !prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) && !prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program));
#else
  lua_pushboolean(L, 0);
#endif
  return 1;
}
static const luaL_Reg functions[] = {
    {"old_kernel", old_kernel}, {"reuse", reuse}, {"end_", end}, {"reap", reap}, {"ignore", ignore},
    {"fork", fork_}, {"exit", exit_}, {"wait", wait_}, {NULL, NULL}};
int luaopen_host(lua_State *L) { luaL_newlib(L, functions); return 1; }
]]

local host_path

--- Runs a script that can `require "host"`.
local function run(source)
  if not host_path then
    local folder = os.tmpname()
    os.remove(folder)
    os.execute("mkdir " .. folder)
    local c <close> = assert(io.open(folder .. "/host.c", "w"))
    c:write(HOST)
    c:close()
    assert(os.execute(("cc -shared -fPIC -o %s/host.so %s/host.c %s"):format(folder, folder, t.cflags)))
    host_path = folder
  end
  local script = program.file_with(("package.cpath = '%s/?.so;' .. package.cpath\n%s"):format(host_path, source))
  local lua = program.checked_lua
  local out, status = program.shell("timeout 60 %s %s 2>&1", lua, script)
  os.remove(script)
  return out, status
end

-- who takes the status

function TestStatus:test_that_somebody_else_took_raises_ChildProcessError()
  t.assertEquals(run [[
    local host, asyncio = require "host", require "asyncio"
    asyncio.run(function()
      local process <close> = asyncio.create_subprocess_exec "true"
      print(host.reap() == process.pid)
      local ok, err = pcall(process.wait, process)
      print(asyncio.isinstance(err, asyncio.ChildProcessError), err.code)
      print((tostring(err):gsub("%d+", "N")))
      print(pcall(process.returncode, process) == false, process:kill())
      local ok, err = pcall(asyncio.run_process, "echo x; exec >&-; sleep 0.1", { capture = true })
      print(ok)
    end)
  ]], "true\ntrue\tECHILD\n[ECHILD] somebody else has taken the status of process N (true)\ntrue\tfalse\ntrue\n")
end

function TestStatus:test_is_nobodys_where_SIGCHLD_is_ignored()
  t.assertEquals(run [[
    local host, asyncio = require "host", require "asyncio"
    host.ignore()
    asyncio.run(function()
      for i = 1, 20 do
        local ok, err = pcall(asyncio.run_process, { "true" })
        if ok or not asyncio.isinstance(err, asyncio.ChildProcessError) then print(ok, err) end
        local process <close> = asyncio.create_subprocess_exec("cat", { stdin = "pipe", stdout = "pipe" })
        local out = process:communicate "x"
        if out ~= "x" then print(out) end
      end
      local process <close> = asyncio.create_subprocess_exec("sleep", 60, { process_group = 0 })
    end)
    print "done"
  ]], "done\n")
end

--- Runs a script that may print "no": a pid could not be used again.
local function run_again(source)
  local out = run("local host, asyncio = require 'host', require 'asyncio'\nasyncio.run(function()\n" .. source
    .. "\nend)")
  if out == "no\n" then t.skip "pids can't be chosen here" end
  return out
end

function TestStatus:test_of_a_stranger_who_has_the_pid_by_now_is_left_to_him()
  t.assertEquals(run_again [[
    local process <close> = asyncio.create_subprocess_exec "true"
    host.reap()
    if not host.reuse(process.pid) then return print "no" end
    print(process:kill(), select(2, pcall(process.wait, process)).code)
    print(host.end_(process.pid))
  ]], "false\tECHILD\ntrue\n")
end

function TestStatus:test_of_a_leader_that_was_taken_leaves_a_strangers_group_alone()
  t.assertEquals(run_again [[
    local pid
    do
      local process <close> = asyncio.create_subprocess_exec("true", { process_group = 0 })
      pid = process.pid
      process:wait()
      host.reap()
      if not host.reuse(pid) then return print "no" end
      print(process:kill())
    end
    print(host.end_(pid))
  ]], "false\ntrue\n")
end

function TestStatus:test_of_a_leader_that_was_taken_does_not_save_its_group()
  t.assertEquals(run [[
    local host, asyncio = require "host", require "asyncio"
    host.ignore()
    local pid
    asyncio.run(function()
      local p <close> = asyncio.create_subprocess_shell([=[sh -c 'trap "" TERM; echo $$; exec sleep 60' & sleep 0.2]=],
        { process_group = 0, kill_timeout = 0.1, stdout = "pipe" })
      pid = p.stdout:readline():match "%d+"
      print(pcall(p.wait, p) == false, os.execute("kill -0 " .. pid))
    end)
    print(os.execute("kill -0 " .. pid .. " 2>/dev/null"))
  ]], "true\tnil\tNo child processes\t10\nnil\tNo child processes\t10\n")
end

--- A group whose leader ends at once, and one who stays in it; whether he has been ended with the block.
local LEFT = [[
  local pid, ok, err
  local function lives()
    local stat <close> = io.open("/proc/" .. pid .. "/stat")
    local state = stat and (stat:read "a" or ""):match "%) (%a)"
    return state ~= nil and state ~= "Z"
  end
  asyncio.run(function(loop)
    asyncio.get_running_loop():set_exception_handler(function(_, context)
      print((context.message:gsub("^.-%)", ""):gsub("%(0x%x+%)", "")))
    end)
    local p <close> = asyncio.create_subprocess_shell("sleep 60 >&2 & echo $!",
      { process_group = 0, kill_timeout = 0.1, stdout = "pipe", stderr = "null" })
    pid = p.stdout:readline():match "%d+"
    ok, err = pcall(p.wait, p)
  end)
  print(ok, ok and err or err.code, lives())
  os.execute("kill " .. pid .. " 2>/dev/null")
]]

local function run_old(script)
  local out = run("local host, asyncio = require 'host', require 'asyncio'\n" .. script .. LEFT)
  if out:find "^no\n" then t.skip "no system calls can be refused here" end
  return out
end

--- As if it had ended, and been reaped, before anybody could ask.
function TestStatus:test_of_a_leader_that_ended_at_once_does_not_save_its_group()
  t.assertEquals(run_old "if not host.old_kernel(true) then return print 'no' end; host.ignore()",
    "false\tECHILD\tfalse\n")
end

--- Before Linux 6.9.
function TestStatus:test_of_a_leader_does_not_save_its_group_where_pidfds_mean_no_groups()
  t.assertEquals(run_old "if not host.old_kernel() then return print 'no' end", "true\t0\tfalse\n")
end

function TestStatus:test_of_a_leader_that_was_taken_leaves_its_group_where_pidfds_mean_no_groups()
  t.assertEquals(run_old "if not host.old_kernel() then return print 'no' end; host.ignore()",
    ", ended  may have left others of its group, which cannot be told from strangers\nfalse\tECHILD\ttrue\n")
end

function TestStatus:test_that_was_taken_does_not_lose_what_was_said()
  t.assertEquals(run [[
    local host, asyncio = require "host", require "asyncio"
    host.ignore()
    asyncio.run(function()
      local ok, err = pcall(asyncio.run_process, "echo out; echo err >&2", { capture = true })
      print(ok, err.code, (err.stdout .. err.stderr):gsub("\n", ";"))
    end)
  ]], "false\tECHILD\tout;err;\t2\n")
end

function TestStatus:test_of_others_children_is_left_to_them()
  t.real(function()
    local pipe = assert(io.popen "exit 3")
    for _ = 1, 5 do asyncio.run_process { "true" } end
    t.assertEquals(select(3, pipe:close()), 3)
  end)
end

function TestStatus:test_in_a_forked_child_is_the_parents()
  t.assertEquals(run [[
    local host, asyncio = require "host", require "asyncio"
    asyncio.run(function()
      local process <close> = asyncio.create_subprocess_exec("sleep", 60)
      io.stdout:flush()
      local pid = host.fork()
      if pid == 0 then
        local ok, err = pcall(process.kill, process)
        print(err)
        io.stdout:flush()
        host.exit(ok and 1 or 7)
      end
      print(host.wait(pid), process:returncode())
    end)
  ]], "ClosedError: the process is the parent's: this one was forked from it\n7\tnil\n")
end

-- Ctrl-C

function TestSignals:test_of_the_terminal_end_what_runs()
  local script = program.file_with [[
    local asyncio = require "asyncio"
    asyncio.run(function()
      local process <close> = asyncio.create_subprocess_exec("sleep", 60, { process_group = 0 })
      asyncio.get_running_loop():call_soon(function()
        print "it waits"
        io.stdout:flush()
      end)
      process:wait()
    end)
  ]]
  local running <close> = program.start("%s %s", program.checked_lua, script)
  running:expect "it waits"
  local output = running:interrupt()
  t.assertStrContains(output, "KeyboardInterrupt")
  os.remove(script)
end

function TestSignals:test_the_second_of_which_kills()
  t.assertEquals(run [[
    local asyncio = require "asyncio"
    local process
    local told = os.tmpname() -- it has been asked to end: the first has been heard
    local ok, err = pcall(asyncio.run, function()
      local _ <close> = asyncio.create_subprocess_shell("trap 'echo >" .. told ..
        "' TERM; trap '' INT; turns=$(seq 9999); echo; for _ in $turns; do sleep 0.01; done",
        { kill_timeout = 1000, process_group = 0, stdout = "pipe", stderr = "null" })
      process = _
      process.stdout:readline()
      io.popen(("(kill -INT $PPID; while test -e %s && ! test -s %s; do sleep 0.01; done; " ..
        "test -s %s && kill -INT $PPID) >/dev/null 2>&1 &"):format(told, told, told)):close()
      asyncio.sleep(60)
    end)
    os.remove(told)
    print(asyncio.isinstance(err, asyncio.KeyboardInterrupt))
    repeat local lives = os.execute("sleep 0.01; kill -0 -" .. process.pid .. " 2>/dev/null") until not lives
  ]], "true\n")
end

--- A second one that comes as it is asked to end: no Lua runs from then on, and nobody waits for it yet.
function TestSignals:test_that_come_between_leave_nothing_behind()
  t.assertEquals(run [[
    local asyncio = require "asyncio"
    local methods = require "asyncio.core".process_class.methods
    local send = methods.send_signal
    function methods.send_signal(...)
      io.popen("kill -INT $PPID"):close()
      return send(...)
    end
    local process
    local ok, err = pcall(asyncio.run, function()
      local _ <close> = asyncio.create_subprocess_shell("trap '' TERM; echo; exec sleep 10",
        { kill_timeout = 1000, process_group = 0, stdout = "pipe" })
      process = _
      process.stdout:readline()
      io.popen("kill -INT $PPID"):close()
      asyncio.sleep(60)
    end)
    print(asyncio.isinstance(err, asyncio.KeyboardInterrupt))
    repeat local lives = os.execute("sleep 0.01; kill -0 -" .. process.pid .. " 2>/dev/null") until not lives
  ]], "true\n")
end

-- terminals and FIFOs, whose other ends are programs

function TestTerminals:test_are_inherited()
  if not os.execute "command -v script >/dev/null" then t.skip "script is not installed" end
  local file = program.file_with [[
    local asyncio = require "asyncio"
    asyncio.run(function()
      print(asyncio.run_process({ "tty" }, { stdout = "pipe", stdin = "inherit" }).stdout:match "^/dev/" ~= nil)
    end)
  ]]
  local output = program.shell("script -qec '%s %s' /dev/null </dev/null", program.checked_lua, file)
  os.remove(file)
  t.assertStrMatches(output, "true%s*")
end

-- where there are no pidfds, and where there is no Linux

--- Runs some of these specs with a core that knows of less.
local function run_without(flags, names)
  local home = debug.getinfo(1, "S").source:match "^@(.*)spec/process/[^/]*$"
  home = home == "" and "." or home
  if not home or not io.open(home .. "/build/os/spawn.o") then t.skip "the objects are not there" end
  local folder = os.tmpname()
  os.remove(folder)
  assert(os.execute("mkdir -p " .. folder .. "/asyncio"))
  local objects = "$(ls src/asyncio.c src/{base,core,sync,net,thread,os,files,dev,face}/*.c | grep -v os/spawn "
    .. "| sed \"s/^src/build/; s/c$/o/\")"
  local compiled = os.execute(("bash -c 'cd %s && cc -O1 -w -std=gnu17 -D_GNU_SOURCE %s -fPIC -shared -Isrc %s "
    .. "-o %s/asyncio/core.so src/os/spawn.c %s -luv'"):format(home, flags, t.cflags, folder, objects))
  t.assertTrue(compiled)
  for _, name in ipairs(names) do
    local command = "cd %s && LUA_CPATH='%s/?.so;'\"$LUA_CPATH\" timeout 60 %s spec/process/%s_spec.lua 2>&1"
    local out, status = program.shell(command, home, folder, program.plain_lua, name)
    t.assertEquals(status, 0, out)
  end
  os.execute("rm -r " .. folder)
end

function TestLess:test_without_pidfds_a_thread_waits() run_without("-DASY_NO_PIDFD", { "end", "run" }) end

function TestLess:test_elsewhere_the_c_library_does_it() run_without("-U__linux__", { "end", "run", "stdio" }) end

t.leave_out(TestLess, ".") -- they run a core of their own, without the tool
t.leave_out(TestStatus, "valgrind", "test_in_a_forked_child_is_the_parents") -- has no threads, and so "leaks" theirs
-- It has no pidfds, so that nothing else tells a child from a stranger.
t.leave_out(TestStatus, "valgrind", "test_of_a_leader_that_ended_at_once_does_not_save_its_group",
  "test_of_a_leader_does_not_save_its_group_where_pidfds_mean_no_groups",
  "test_of_a_leader_that_was_taken_does_not_save_its_group",
  "test_of_a_leader_that_was_taken_leaves_a_strangers_group_alone",
  "test_of_a_leader_that_was_taken_leaves_its_group_where_pidfds_mean_no_groups",
  "test_of_a_stranger_who_has_the_pid_by_now_is_left_to_him")

for _, tool in ipairs { "asan", "tsan" } do -- there the child is a vfork, and its pidfd is asked for later
  t.leave_out(TestStatus, tool, "test_of_a_leader_that_ended_at_once_does_not_save_its_group")
end

t.finish { sampled = true }

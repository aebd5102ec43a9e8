-- Processes on older kernels: what a program asks the kernel for in vain (seccomp refuses it) is done otherwise.
local t = require "helper"
local program = require "program"

TestOlder = {}

--- A module whose `refuse` makes the kernel say "no such call" from now on, to this process and its children; to
-- pidfd_send_signal with flags it says "wrong argument".
local KERNEL = [[
#include <errno.h>
#include <lauxlib.h>
#include <stddef.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
#define LOW 4
#else
#define LOW 0
#endif
static long number(const char *name) {
  if (!strcmp(name, "close_range")) return SYS_close_range;
  if (!strcmp(name, "pidfd_open")) return SYS_pidfd_open;
  if (!strcmp(name, "pidfd_send_signal")) return SYS_pidfd_send_signal;
  return -1;
}
static int refuse(lua_State *L) {
  unsigned nr = (unsigned)number(luaL_checkstring(L, 1)), flags = nr == SYS_pidfd_send_signal;
  struct sock_filter code[] = {
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, nr, 0, 4),
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args) + 3 * 8 + LOW),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 0, 0, 1),
      BPF_STMT(BPF_RET | BPF_K, flags ? SECCOMP_RET_ALLOW : SECCOMP_RET_ERRNO | ENOSYS),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | (flags ? EINVAL : ENOSYS)),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)};
  struct sock_fprog filter = {sizeof code / sizeof *code, code};
  lua_pushboolean(L, !prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) && !prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter));
  return 1;
}
static const luaL_Reg functions[] = {{"refuse", refuse}, {NULL, NULL}};
int luaopen_kernel(lua_State *L) { luaL_newlib(L, functions); return 1; }
]]

local folder

--- What a script prints, in a task, on a kernel that lacks that call.
local function on_kernel_without(call, source)
  if not folder then
    folder = os.tmpname()
    os.remove(folder)
    os.execute("mkdir " .. folder)
    local c <close> = assert(io.open(folder .. "/kernel.c", "w"))
    c:write(KERNEL)
    c:close()
    if not os.execute(("cc -shared -fPIC -o %s/kernel.so %s/kernel.c %s 2>%s/errors"):format(folder, folder, t.cflags,
      folder)) then
      t.skip "there is no seccomp"
    end
  end
  local script = program.file_with(([[
    package.cpath = '%s/?.so;' .. package.cpath
    local asyncio = require "asyncio"
    if not require "kernel".refuse "%s" then return print "no" end
    asyncio.run(function()
      %s
    end)
  ]]):format(folder, call, source))
  local out = program.shell("timeout 60 %s %s 2>&1", program.checked_lua, script)
  os.remove(script)
  if out == "no\n" then t.skip "there is no seccomp" end
  return out
end

function TestOlder:tearDown()
  if folder then os.execute("rm -rf " .. folder) end
  folder = nil
end

function TestOlder:test_without_close_range_others_descriptors_are_closed_too()
  t.assertEquals(on_kernel_without("close_range", [[
    local files = {}
    for i = 1, 200 do files[i] = assert(io.open "/dev/null") end
    print(asyncio.run_process("ls /proc/self/fd", { capture = true }).stdout)
    print(asyncio.run_process({ "test", "-e", "/proc/self/fd/9" }, { pass_fds = { [9] = files[1] } }).returncode)
  ]]), "0\n1\n2\n3\n\n0\n") -- 3 is ls's own, with which it looks
end

function TestOlder:test_without_pidfds_all_is_as_with_them()
  t.assertEquals(on_kernel_without("pidfd_open", [[
    print(asyncio.run_process({ "sh", "-c", "cat; exit 3" }, { input = "in", capture = true, check = false }))
    local process <close> = asyncio.create_subprocess_exec("sleep", 60)
    print(process:kill(), process:wait(), process:kill())
    local group <close> = asyncio.create_subprocess_shell("sleep 60 & echo $!; wait",
      { process_group = 0, stdout = "pipe" })
    local pid = group.stdout:readline()
    print(group:kill(), group:wait())
    while os.execute("kill -0 " .. pid:match "%d+" .. " 2>/dev/null; test $? = 0 && ! grep -q ' Z ' /proc/"
      .. pid:match "%d+" .. "/stat 2>/dev/null") do asyncio.sleep(0.001) end
    print "all"
  ]]):gsub("0x%x+", ""):gsub("^[^\n]*\n", ""), "true\t-9\tfalse\ntrue\t-9\nall\n")
end

function TestOlder:test_before_linux_6_9_a_group_is_signalled_by_its_number()
  t.assertEquals(on_kernel_without("pidfd_send_signal", [[
    local group <close> = asyncio.create_subprocess_shell("sleep 60 & echo $!; wait",
      { process_group = 0, stdout = "pipe" })
    local pid = group.stdout:readline():match "%d+"
    print(group:send_signal "SIGTERM", group:wait())
    while os.execute("kill -0 " .. pid .. " 2>/dev/null && ! grep -q ' Z ' /proc/" .. pid .. "/stat") do
      asyncio.sleep(0.001)
    end
    local ended <close> = asyncio.create_subprocess_shell("sleep 60 & exit 5", { process_group = 0 })
    print(ended:wait(), ended:kill())
  ]]), "true\t-15\n5\ttrue\n")
end

t.finish()

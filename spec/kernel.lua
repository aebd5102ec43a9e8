-- kernel.lua - programs on a kernel that refuses something: an older one, or one that has nothing left.
local t = require "helper"
local program = require "program"

local kernel = {}

--- A module whose `refuse` makes the kernel (seccomp) say "no such call" from now on, to this process and its children;
-- to pidfd_send_signal with flags it says "wrong argument", unless it is asked for "pidfds": those are of no use then;
-- to clone3, by which threads are made, "not now".
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
#if defined(SYS_clone3)
  if (!strcmp(name, "clone3")) return SYS_clone3;
#endif
  if (!strcmp(name, "pidfd_send_signal") || !strcmp(name, "pidfds")) return SYS_pidfd_send_signal;
  return -1;
}
static int refuse(lua_State *L) {
  unsigned nr = (unsigned)number(luaL_checkstring(L, 1)), flags = !strcmp(lua_tostring(L, 1), "pidfd_send_signal");
  int error = strcmp(lua_tostring(L, 1), "clone3") ? ENOSYS : EAGAIN;
  struct sock_filter code[] = {
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, nr, 0, 4),
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args) + 3 * 8 + LOW),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 0, 0, 1),
      BPF_STMT(BPF_RET | BPF_K, flags ? SECCOMP_RET_ALLOW : SECCOMP_RET_ERRNO | error),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | (flags ? EINVAL : error)),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)};
  struct sock_fprog filter = {sizeof code / sizeof *code, code};
  lua_pushboolean(L, !prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) && !prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter));
  return 1;
}
static const luaL_Reg functions[] = {{"refuse", refuse}, {NULL, NULL}};
int luaopen_refusal(lua_State *L) { luaL_newlib(L, functions); return 1; }
]]

local folder

--- At the end.
function kernel.forget()
  if folder then os.execute("rm -rf " .. folder) end
  folder = nil
end

--- What a script prints, in a task, on a kernel that lacks that call.
function kernel.without(call, source)
  if not folder then
    folder = os.tmpname()
    os.remove(folder)
    os.execute("mkdir " .. folder)
    local c <close> = assert(io.open(folder .. "/refusal.c", "w"))
    c:write(KERNEL)
    c:close()
    if not os.execute(("cc -shared -fPIC -o %s/refusal.so %s/refusal.c %s 2>%s/errors"):format(folder, folder, t.cflags,
      folder)) then
      t.skip "there is no seccomp"
    end
  end
  local script = program.file_with(([[
    package.cpath = '%s/?.so;' .. package.cpath
    local asyncio = require "asyncio"
    if not require "refusal".refuse "%s" then return print "no" end
    asyncio.run(function()
      %s
    end)
  ]]):format(folder, call, source))
  local out = program.shell("timeout 60 %s %s", program.checked_lua, script)
  os.remove(script)
  if out == "no\n" then t.skip "there is no seccomp" end
  return out
end

return kernel

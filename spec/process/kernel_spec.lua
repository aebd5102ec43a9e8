-- Processes on older kernels: what a program asks the kernel for in vain (seccomp refuses it) is done otherwise.
local t = require "helper"
local kernel = require "kernel"

TestOlder = {}
TestOlder.tearDown = kernel.forget

function TestOlder:test_without_close_range_others_descriptors_are_closed_too()
  t.assertEquals(kernel.without("close_range", [[
    local files = {}
    for i = 1, 200 do files[i] = assert(io.open "/dev/null") end
    print(asyncio.run_process("ls /proc/self/fd", { capture = true }).stdout)
    print(asyncio.run_process({ "test", "-e", "/proc/self/fd/9" }, { pass_fds = { [9] = files[1] } }).returncode)
  ]]), "0\n1\n2\n3\n\n0\n") -- 3 is ls's own, with which it looks
end

function TestOlder:test_without_pidfds_all_is_as_with_them()
  t.assertEquals(kernel.without("pidfds", [[
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
  t.assertEquals(kernel.without("pidfd_send_signal", [[
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

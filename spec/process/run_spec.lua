-- communicate and run_process.
local t = require "helper"
local asyncio = t.asyncio

TestCommunicate = {}
TestRun = {}
TestTimeout = {}
TestMany = {}

-- communicate

function TestCommunicate:test_writes_and_reads_at_once()
  t.real(function()
    local text = ("0123456789abcde\n"):rep(t.count(1 << 18)) -- 4 MiB: more than the pipes hold
    local process <close> = asyncio.create_subprocess_shell("tee /dev/stderr",
      { stdin = "pipe", stdout = "pipe", stderr = "pipe" })
    local out, err = process:communicate(text)
    t.assertTrue(out == text and err == text)
    t.assertEquals(process:returncode(), 0)
  end)
end

function TestCommunicate:test_gives_nil_for_what_is_no_pipe()
  t.real(function()
    local process <close> = asyncio.create_subprocess_shell("echo x >&2", { stderr = "pipe" })
    t.assertEquals(table.pack(process:communicate()), { nil, "x\n", n = 2 })
    local other <close> = asyncio.create_subprocess_exec("true")
    t.assertEquals(table.pack(other:communicate()), { nil, nil, n = 2 })
  end)
end

function TestCommunicate:test_without_input_closes_it()
  t.real(function()
    local process <close> = asyncio.create_subprocess_exec("cat", { stdin = "pipe", stdout = "pipe" })
    t.assertEquals(process:communicate(), "")
  end)
end

function TestCommunicate:test_to_one_that_does_not_read_is_no_error()
  t.real(function()
    local process <close> = asyncio.create_subprocess_shell("exec <&-; echo x", { stdin = "pipe", stdout = "pipe" })
    t.assertEquals(process:communicate(("x"):rep(1 << 20)), "x\n")
  end)
end

function TestCommunicate:test_cut_short_keeps_what_came_and_goes_on()
  t.real(function()
    local name = os.tmpname()
    local script = "cat; echo one; until test -s %s; do sleep 0.01; done; echo two"
    local process <close> = asyncio.create_subprocess_shell(script:format(name), { stdin = "pipe", stdout = "pipe" })
    local task = asyncio.create_task(process.communicate, process, "in\n")
    t.wait_until(function() return task:done() or process.stdin:is_closing() end)
    asyncio.sleep(0.01)
    task:cancel()
    t.assert_raises(asyncio.CancelledError, asyncio.await, task)
    t.wait_until(function() return process.stdout:peek(100, 0) == "in\none\n" end)
    t.assertNil(process:returncode())
    local file <close> = assert(io.open(name, "w"))
    file:write "x"
    file:flush()
    t.assertEquals(process:communicate(), "in\none\ntwo\n")
    os.remove(name)
  end)
end

function TestCommunicate:test_waits_only_so_long_for_who_holds_the_pipes()
  t.real(function()
    local loop = asyncio.get_running_loop()
    local process <close> = asyncio.create_subprocess_shell("echo x; sleep 60 & echo $!",
      { stdout = "pipe", drain_grace = 0.1, process_group = 0 })
    local began = loop:time()
    local out = process:communicate()
    t.assertStrMatches(out, "x\n%d+\n")
    t.assertTrue(loop:time() - began >= 0.1)
    t.assertEquals(process:returncode(), 0)
  end)
end

function TestCommunicate:test_raises_when_another_task_reads()
  t.real(function()
    local process <close> = asyncio.create_subprocess_exec("sleep", 60, { stdout = "pipe" })
    local reading <close> = asyncio.create_task(process.stdout.read, process.stdout)
    asyncio.sleep(0)
    t.assert_raises(asyncio.BusyError, process.communicate, process)
    t.assertFalse(reading:done())
  end)
end

function TestCommunicate:test_that_is_refused_has_written_nothing()
  t.real(function()
    local process <close> = asyncio.create_subprocess_exec("cat", { stdin = "pipe", stdout = "pipe" })
    local reading <close> = asyncio.create_task(process.stdout.read, process.stdout)
    asyncio.sleep(0)
    t.assert_raises(asyncio.BusyError, process.communicate, process, "x")
    t.assertFalse(process.stdin:is_closing())
    process.stdin:close()
    t.assertEquals(asyncio.await(reading), "")
  end)
end

function TestCommunicate:test_refuses_what_is_no_input()
  t.real(function()
    local process <close> = asyncio.create_subprocess_exec("cat", { stdin = "pipe" })
    t.assertStrContains(tostring(t.error_of(process.communicate, process, 1)),
      "bad argument #1 to 'communicate' (string or nil expected, got number)")
    process.stdin:close()
    t.assert_raises(asyncio.ClosedError, process.communicate, process, "x")
    local other <close> = asyncio.create_subprocess_exec("true")
    t.assertStrContains(tostring(t.error_of(other.communicate, other, "x")), 'stdin = "pipe"')
  end)
end

-- run_process

function TestRun:test_gives_all_there_is()
  t.real(function()
    local result = asyncio.run_process({ "sh", "-c", "cat; echo err >&2" }, { input = "in", capture = true })
    t.assertEquals(result, { returncode = 0, stdout = "in", stderr = "err\n",
      args = { "sh", "-c", "cat; echo err >&2" } })
    t.assertEquals(asyncio.run_process "true", { returncode = 0, args = "true" })
  end)
end

function TestRun:test_raises_for_one_that_fails()
  t.real(function()
    local script = "echo out; echo one >&2; echo two >&2; exit 3"
    local err = t.assert_raises(asyncio.CalledProcessError, asyncio.run_process, script, { capture = true })
    t.assertEquals({ err.returncode, err.stdout, err.stderr }, { 3, "out\n", "one\ntwo\n" })
    t.assertEquals(err.args, script)
    t.assertStrContains(tostring(err), "exit 3' ended with 3: two")
    err = t.assert_raises(asyncio.CalledProcessError, asyncio.run_process, { "sh", "-c", "kill -KILL $$" })
    t.assertEquals(tostring(err), "CalledProcessError: 'sh -c kill -KILL $$' was ended by signal SIGKILL")
  end)
end

function TestRun:test_can_be_told_not_to_raise()
  t.real(function()
    t.assertEquals(asyncio.run_process("exit 3", { check = false }).returncode, 3)
    t.assertEquals(asyncio.run_process("kill -TERM $$", { check = false }).returncode, -15)
  end)
end

function TestRun:test_of_a_leader_leaves_its_group_alone()
  t.real(function()
    local result = asyncio.run_process("sleep 60 >/dev/null 2>&1 & echo $!", { capture = true, process_group = 0 })
    t.assertEquals(t.zombies(), 0)
    t.assertTrue(os.execute("kill " .. result.stdout))
  end)
end

function TestRun:test_ends_what_runs_when_it_is_cancelled()
  t.real(function()
    local before = #asyncio.all_tasks()
    local script = "trap 'exit 0' TERM; for _ in $(seq 9999); do sleep 0.01; done"
    local task = asyncio.create_task(asyncio.run_process, script, { capture = true })
    asyncio.sleep(0.05)
    task:cancel()
    t.assert_raises(asyncio.CancelledError, asyncio.await, task)
    t.assertEquals({ t.zombies(), #asyncio.all_tasks() }, { 0, before })
  end)
end

function TestRun:test_works_in_several_loops_of_several_threads()
  t.real(function()
    local function work(n)
      local lib = require "asyncio"
      return lib.run(function()
        local sum = 0
        for i = 1, n do sum = sum + tonumber(lib.run_process({ "echo", i }, { capture = true }).stdout) end
        return sum
      end)
    end
    local pool <close> = asyncio.ThreadPoolExecutor(4)
    local jobs = {}
    local n = t.count(40)
    for i = 1, 4 do jobs[i] = pool:submit(work, n) end
    for _ = 1, n do t.assertEquals(asyncio.run_process({ "echo", "x" }, { capture = true }).stdout, "x\n") end
    for i = 1, 4 do t.assertEquals(asyncio.await(jobs[i]), n * (n + 1) // 2) end
    t.assertEquals(t.zombies(), 0)
  end)
end

-- timeouts

function TestTimeout:test_ends_it_and_has_what_came()
  t.real(function()
    local err = t.assert_raises(asyncio.TimeoutError, asyncio.run_process, "echo out; echo err >&2; exec sleep 60",
      { capture = true, timeout = t.slow and 5 or 0.3 })
    t.assertEquals({ err.stdout, err.stderr }, { "out\n", "err\n" })
    t.assertStrContains(tostring(err), "exec sleep 60' took longer than ")
    t.assertEquals(t.zombies(), 0)
  end)
end

function TestTimeout:test_that_is_not_reached_changes_nothing()
  t.real(function()
    t.assertEquals(asyncio.run_process({ "echo", "x" }, { capture = true, timeout = 60 }).stdout, "x\n")
  end)
end

function TestTimeout:test_around_it_works_too()
  t.real(function()
    t.assertEquals(asyncio.move_on_after(0.05, asyncio.run_process, { "sleep", 60 }), false)
    t.assert_raises(asyncio.TimeoutError, asyncio.wait_for, function() asyncio.run_process { "sleep", 60 } end, 0.05)
    t.assertEquals(t.zombies(), 0)
  end)
end

-- many

function TestRun:test_tells_of_a_script_in_one_short_line()
  t.real(function()
    local script = "\n" .. (": x\n"):rep(1000) .. "exit 3"
    local err = t.assert_raises(asyncio.CalledProcessError, asyncio.run_process, script)
    t.assertStrContains(tostring(err), [[CalledProcessError: '\n: x\n: x\n]])
    t.assertStrContains(tostring(err), "...' ended with 3")
    t.assertTrue(#tostring(err) < 300)
  end)
end

function TestRun:test_tells_where_the_arguments_of_a_program_stand()
  t.real(function()
    t.assertStrContains(tostring(t.error_of(asyncio.run_process, "ls", "-l")), "bad argument #2 to 'run_process' ("
      .. "table of options expected, got string: its arguments stand in the list, {program, arg, ...})")
  end)
end

function TestRun:test_refuses_args_that_are_no_list()
  t.real(function()
    for _, args in ipairs { { name = "x" }, { true }, { "\0" } } do
      t.assertStrContains(tostring(t.error_of(asyncio.run_process, "true", { args = args })),
        "bad argument #2 to 'run_process' ('args': ")
    end
  end)
end

function TestTimeout:test_keeps_what_is_said_while_it_ends()
  t.real(function()
    local err = t.assert_raises(asyncio.TimeoutError, asyncio.run_process,
      "trap 'seq 20000; echo cleaned >&2; exit 3' TERM; echo start; for _ in $(seq 9999); do sleep 0.01; done",
      { timeout = 0.2, capture = true })
    t.assertStrMatches(err.stdout, "start\n1\n.*\n20000\n")
    t.assertEquals(err.stderr, "cleaned\n")
  end)
end

function TestTimeout:test_or_its_end_ends_a_group_of_its_own()
  t.real(function()
    local result = asyncio.run_process("sleep 60 >/dev/null & echo $!", { process_group = 0, capture = true })
    local file = io.open("/proc/" .. result.stdout:match "%d+" .. "/stat")
    t.assertEquals((file and file:read "a" or ""):match "%) (%a)" or "Z", "Z") -- whoever has inherited it reaps it
    if file then file:close() end
  end)
end

function TestMany:test_at_once()
  t.real(function()
    local n = t.count(60)
    local list = {}
    for i = 1, n do list[i] = i end
    local results = asyncio.map(function(i)
      local script = "read x; echo $((x * 2)); echo err >&2"
      return asyncio.run_process(script, { input = i .. "\n", capture = true }).stdout
    end, list)
    for i = 1, n do t.assertEquals(tonumber(results[i]), 2 * i) end
    t.assertEquals(t.zombies(), 0)
  end)
end

function TestMany:test_in_the_loops_of_other_threads()
  t.real(function()
    local function job(n)
      local lib = require "asyncio"
      return lib.run(function()
        local sum = 0
        for i = 1, n do
          sum = sum + tonumber(lib.run_process({ "cat" }, { input = tostring(i), capture = true }).stdout)
        end
        return sum
      end)
    end
    local n, tasks = t.count(20), {}
    for i = 1, 3 do tasks[i] = asyncio.create_task(asyncio.to_thread, job, n) end
    for i = 1, n do t.assertEquals(asyncio.run_process({ "echo", i }, { capture = true }).stdout, i .. "\n") end
    for i = 1, 3 do t.assertEquals(asyncio.await(tasks[i]), n * (n + 1) // 2) end
    t.assertEquals(t.zombies(), 0)
  end)
end

function TestMany:test_one_after_the_other_leave_no_descriptor_thread_or_zombie()
  t.real(function()
    local function count(what)
      for _ = 1, 3 do
        t.collect()
        asyncio.sleep(0.001)
      end
      local pipe <close> = assert(io.popen(("ls /proc/$PPID/%s | wc -l"):format(what)))
      return pipe:read "n"
    end
    asyncio.run_process({ "true" }, { capture = true })
    local descriptors, threads = count "fd", count "task"
    for i = 1, t.count(tonumber(os.getenv "SPEC_ROUNDS") or 300) do
      if i % 3 == 0 then
        local opts = { input = "x", capture = true }
        t.assertNotNil(asyncio.move_on_after(0.0001 * (i % 20), asyncio.run_process, { "cat" }, opts))
      elseif i % 3 == 1 then
        local _ <close> = asyncio.create_subprocess_exec("cat", { stdin = "pipe", stdout = "pipe" })
      else
        asyncio.run_process({ "true" }, { capture = true, process_group = 0 })
      end
    end
    t.wait_until(function() return count "fd" == descriptors and count "task" == threads end)
    t.assertEquals(t.zombies(), 0)
  end)
end

t.finish { sampled = true }

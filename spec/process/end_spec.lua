-- How processes end: waiting, signals, groups, leaving the block, what is left behind.
local t = require "helper"
local program = require "program"
local asyncio = t.asyncio

TestWait = {}
TestSignals = {}
TestGroups = {}
TestClose = {}
TestLeft = {}

local function sleeper(opts) return asyncio.create_subprocess_exec("sleep", 60, opts or {}) end

--- Whether there is such a process, that has not ended.
local function lives(pid)
  local file <close> = io.open("/proc/" .. pid .. "/stat")
  local state = file and (file:read "a" or ""):match "%) (%a)"
  return state ~= nil and state ~= "Z"
end

--- Starts a script as a shell, and waits until it has said what stands in its first line.
local function shell(script, opts)
  opts = opts or {}
  opts.stdout = "pipe"
  local process = asyncio.create_subprocess_shell(script, opts)
  return process, process.stdout:readline():match "^(.-)\n"
end

-- waiting

function TestWait:test_is_told_by_tostring_when_it_is_over()
  t.real(function()
    local process <close> = asyncio.create_subprocess_shell "exit 7"
    process:wait()
    t.assertStrMatches(tostring(process), "asyncio.Process: %d+ %(/bin/sh .-exit 7.-%), ended with 7 %(0x%x+%)")
  end)
end

function TestWait:test_gives_the_exit_status()
  t.real(function()
    for _, code in ipairs { 0, 1, 255 } do
      local process <close> = asyncio.create_subprocess_shell("exit " .. code)
      t.assertEquals({ process:wait(), process:returncode(), process:wait() }, { code, code, code })
    end
  end)
end

function TestWait:test_gives_a_signal_as_a_negative_number()
  t.real(function()
    local process <close> = asyncio.create_subprocess_shell "kill -TERM $$"
    t.assertEquals(process:wait(), -15)
    t.assertStrContains(tostring(process), "(/bin/sh -c -- kill -TERM $$ sh), ended by SIGTERM")
  end)
end

function TestWait:test_has_no_code_while_it_runs()
  t.real(function()
    local process <close> = sleeper()
    t.assertNil(process:returncode())
    t.assertStrContains(tostring(process), "(sleep 60), running")
  end)
end

function TestWait:test_several_tasks_may()
  t.real(function()
    local process <close> = asyncio.create_subprocess_exec("cat", { stdin = "pipe" })
    local a, b = asyncio.create_task(process.wait, process), asyncio.create_task(process.wait, process)
    asyncio.sleep(0)
    t.assertStrContains(tostring(a), "process, " .. process.pid .. " (cat)")
    process.stdin:close()
    t.assertEquals({ asyncio.gather(a, b) }, { 0, 0 })
  end)
end

function TestWait:test_can_be_cancelled_and_made_again()
  t.real(function()
    local process <close> = asyncio.create_subprocess_exec("cat", { stdin = "pipe" })
    t.assertEquals(asyncio.move_on_after(0.01, process.wait, process), false)
    process.stdin:close()
    t.assertEquals(process:wait(), 0)
  end)
end

function TestWait:test_does_not_wait_for_who_holds_its_pipes()
  t.real(function()
    local process <close> = asyncio.create_subprocess_shell("sleep 60 & echo $!", { stdout = "pipe" })
    local pid = process.stdout:readline():match "%d+"
    t.assertEquals(process:wait(), 0)
    t.assertTrue(lives(pid))
    os.execute("kill " .. pid)
  end)
end

function TestWait:test_needs_a_task()
  t.real(function()
    local process <close> = sleeper()
    local err
    asyncio.get_running_loop():call_soon(function() err = t.error_of(process.wait, process) end)
    asyncio.sleep(0.01)
    t.assertStrContains(tostring(err), "cannot wait")
  end)
end

-- signals

function TestSignals:test_are_sent_by_name_or_number()
  t.real(function()
    for _, signal in ipairs { "SIGUSR1", 10 } do
      local process <close>, _ = shell "trap 'exit 7' USR1; echo; for _ in $(seq 9999); do sleep 0.01; done"
      t.assertTrue(process:send_signal(signal))
      t.assertEquals(process:wait(), 7)
    end
  end)
end

function TestSignals:test_end_it()
  t.real(function()
    local a <close> = sleeper()
    t.assertTrue(a:terminate())
    t.assertEquals(a:wait(), -15)
    local c <close> = sleeper()
    t.assertTrue(c:kill())
    t.assertEquals(c:wait(), -9)
  end)
end

function TestSignals:test_are_not_sent_once_it_has_ended()
  t.real(function()
    local process <close> = asyncio.create_subprocess_exec "true"
    t.wait_until(function() return not lives(process.pid) end) -- and nobody has been told yet
    t.assertFalse(process:kill())
    t.assertEquals(process:wait(), 0)
    t.assertFalse(process:terminate())
    t.assertFalse(process:send_signal "SIGHUP")
  end)
end

function TestSignals:test_of_number_0_tell_whether_it_is_there()
  t.real(function()
    local process <close> = sleeper()
    t.assertTrue(process:send_signal(0))
    process:kill()
    process:wait()
    t.assertFalse(process:send_signal(0))
  end)
end

function TestSignals:test_must_be_some()
  t.real(function()
    local process <close> = sleeper()
    for _, signal in ipairs { "SIGNONE", -1, 65, 1.5, {} } do
      t.assertStrContains(tostring(t.error_of(process.send_signal, process, signal)), "signal expected")
    end
    t.assertStrContains(tostring(t.error_of(process.kill)), "bad")
  end)
end

-- groups

function TestGroups:test_get_their_leaders_signals()
  t.real(function()
    for _, opts in ipairs { { process_group = 0 }, { new_session = true } } do
      local process <close>, pid = shell("sleep 60 & echo $!; wait", opts)
      t.assertTrue(process:terminate())
      t.assertEquals(process:wait(), -15)
      t.wait_until(function() return not lives(pid) end)
    end
  end)
end

function TestGroups:test_can_be_signalled_when_their_leader_has_ended()
  t.real(function()
    local process <close>, pid = shell("sleep 60 & echo $!", { process_group = 0 })
    t.assertEquals(process:wait(), 0)
    t.assertTrue(lives(pid))
    t.assertTrue(process:terminate())
    t.wait_until(function() return not lives(pid) end)
  end)
end

function TestGroups:test_of_others_are_left_alone()
  t.real(function()
    local leader <close> = sleeper { process_group = 0 }
    local member <close> = sleeper { process_group = leader.pid }
    member:terminate()
    t.assertEquals(member:wait(), -15)
    t.assertNil(leader:returncode())
  end)
end

-- leaving the block

function TestClose:test_ends_it_and_waits()
  t.real(function()
    local process
    do
      local p <close> = sleeper()
      process = p
    end
    t.assertEquals(process:returncode(), -15)
    t.assertFalse(lives(process.pid))
    t.assertEquals(t.zombies(), 0)
  end)
end

function TestClose:test_kills_what_does_not_end()
  t.real(function()
    local process, _
    do
      local p <close>, line = shell("trap '' TERM; echo; for _ in $(seq 9999); do sleep 0.01; done",
        { kill_timeout = 0.1 })
      process, _ = p, line
    end
    t.assertEquals(process:returncode(), -9)
  end)
end

function TestClose:test_gives_it_time_to_clean_up()
  t.real(function()
    local process
    do
      local p <close> = shell "trap 'sleep 0.05; exit 3' TERM; echo; for _ in $(seq 9999); do sleep 0.01; done"
      process = p
    end
    t.assertEquals(process:returncode(), 3)
  end)
end

--- A script that says something long while it cleans up.
local TALKS = "trap 'seq 30000; echo cleaned >&2; exit 3' TERM; echo; for _ in $(seq 9999); do sleep 0.01; done"

function TestClose:test_lets_it_say_what_it_has_to_say()
  t.real(function()
    for _, stderr in ipairs { "pipe", "stdout" } do
      local process
      do
        local p <close> = shell(TALKS, { stderr = stderr })
        process = p
      end
      t.assertEquals(process:returncode(), 3)
      t.assert_raises(asyncio.ClosedError, process.stdout.read, process.stdout)
    end
  end)
end

function TestClose:test_leaves_reading_to_who_reads()
  t.real(function()
    local process, reading
    do
      local p <close> = shell(TALKS, { stderr = "null" })
      process, reading = p, asyncio.create_task(p.stdout.read, p.stdout, -1)
      asyncio.sleep(0.02)
    end
    t.assertEquals(process:returncode(), 3)
    local ok, text = pcall(asyncio.await, reading)
    t.assertTrue(ok and #text == 168894 or asyncio.isinstance(text, asyncio.ClosedError))
  end)
end

function TestClose:test_ends_a_leader_that_has_left_its_group()
  if not os.execute "command -v perl >/dev/null" then t.skip "perl is not installed" end
  t.real(function()
    local process
    do
      local p <close> = asyncio.create_subprocess_exec("perl", "-e",
        "$| = 1; setpgrp(0, getppid()); print qq(x\\n); sleep 60", { process_group = 0, stdout = "pipe" })
      p.stdout:readline()
      process = p
    end
    t.assertEquals(process:returncode(), -15)
  end)
end

function TestClose:test_makes_its_readers_raise_but_at_their_end()
  t.real(function()
    local p, _ = shell "echo hello; exec sleep 60"
    getmetatable(p).__close(p)
    for _, name in ipairs { "read", "readline", "readexactly" } do
      t.assert_raises(asyncio.ClosedError, p.stdout[name], p.stdout, name ~= "readline" and 10 or nil)
    end
    t.assert_raises(asyncio.ClosedError, p.communicate, p)
    local q <close> = asyncio.create_subprocess_exec("echo", "x", { stdout = "pipe" })
    q:communicate()
    getmetatable(q).__close(q)
    t.assertNil(q.stdout:read(10))
  end)
end

function TestClose:test_ends_all_of_a_group()
  t.real(function()
    local pids = {}
    do
      local p <close>, line = shell([[sh -c 'trap "" TERM; echo $$; exec sleep 60' & sleep 60 & echo $!; wait]],
        { process_group = 0, kill_timeout = 0.1 })
      pids = { line, p.stdout:readline():match "%d+", p.pid }
    end
    for _, pid in ipairs(pids) do t.assertFalse(lives(pid)) end
    t.assertEquals(t.zombies(), 0)
  end)
end

function TestClose:test_ends_those_that_a_leader_has_left_behind()
  t.real(function()
    local pid
    do
      local p <close>, line = shell([[sh -c 'trap "" TERM; echo $$; exec sleep 60' &]],
        { process_group = 0, kill_timeout = 0.1 })
      pid = line
      t.assertEquals(p:wait(), 0)
      t.assertTrue(lives(pid))
    end
    t.assertFalse(lives(pid))
    t.assertEquals(t.zombies(), 0)
  end)
end

function TestClose:test_ends_a_group_though_no_descriptor_is_left_to_look_at_it()
  local script = program.file_with [[
    local asyncio = require "asyncio"
    local pid
    asyncio.run(function()
      local files = {}
      local p <close> = asyncio.create_subprocess_shell([=[sh -c 'trap "" TERM; echo $$; exec sleep 60' &]=],
        { process_group = 0, kill_timeout = 0.1, stdout = "pipe" })
      pid = p.stdout:readline():match "%d+"
      p:wait()
      repeat files[#files + 1] = io.open "/dev/null" until not io.open "/dev/null"
    end)
    collectgarbage()
    local state
    for _ = 1, 3000 do -- where nobody can know it is not waited for
      local file = io.open("/proc/" .. pid .. "/stat")
      state = file and file:read "a":match "%) (%a)" or "Z"
      if state == "Z" then break end
      os.execute "sleep 0.01"
    end
    print(state == "Z" and "gone" or state)
  ]]
  t.assertEquals(program.shell("ulimit -n 64; timeout 60 %s %s 2>&1", program.checked_lua, script), "gone\n")
  os.remove(script)
end

function TestClose:test_lets_a_group_end_by_itself()
  t.real(function()
    local name = os.tmpname()
    do
      local script = "trap 'sleep 0.1; echo done >" .. name .. "; exit' TERM; turns=$(seq 9999); echo;" ..
        " for _ in $turns; do sleep 0.01; done"
      local _ <close> = shell("(" .. script .. ") & wait", { process_group = 0 })
    end
    t.assertEquals(program.content(name), "done\n")
    os.remove(name)
  end)
end

function TestClose:test_is_quick_when_it_is_cancelled()
  t.real(function()
    local process
    local task = asyncio.create_task(function()
      local p <close> = shell("trap '' TERM; echo; for _ in $(seq 9999); do sleep 0.01; done", { kill_timeout = 1000 })
      process = p
    end)
    t.wait_until(function() return process end)
    asyncio.sleep(0.02)
    t.assertNil(process:returncode())
    task:cancel()
    t.assert_raises(asyncio.CancelledError, asyncio.await, task)
    t.assertEquals(process:returncode(), -9)
  end)
end

function TestClose:test_of_a_block_that_a_cancellation_leaves_is_kind()
  t.real(function()
    local process
    local task = asyncio.create_task(function()
      local p <close> = shell "trap 'sleep 0.05; exit 3' TERM; echo; for _ in $(seq 9999); do sleep 0.01; done"
      process = p
      p:wait()
    end)
    t.wait_until(function() return process end)
    task:cancel()
    t.assert_raises(asyncio.CancelledError, asyncio.await, task)
    t.assertEquals(process:returncode(), 3)
  end)
end

function TestClose:test_of_what_has_ended_does_nothing()
  t.real(function()
    local process = asyncio.create_subprocess_exec("true", { stdin = "pipe", stdout = "pipe" })
    process:wait()
    local close = getmetatable(process).__close
    close(process)
    close(process)
    t.assertEquals(process:returncode(), 0)
    t.assertTrue(process.stdin:is_closing())
  end)
end

-- left behind

function TestLeft:test_what_is_collected_is_reported_and_runs_on()
  t.real(function(reports)
    local pid
    do
      local process = asyncio.create_subprocess_exec("sleep", 60)
      pid = process.pid
    end
    t.collect()
    asyncio.sleep(0)
    t.take_report(reports, ("process %d %%(sleep 60%%) was left running"):format(pid))
    t.assertTrue(lives(pid))
    os.execute("kill " .. pid)
    t.wait_until(function() return not lives(pid) and t.zombies() == 0 end)
  end)
end

function TestLeft:test_what_is_another_loops_is_refused_and_as_before()
  t.assertEquals((t.lua [[
    local asyncio = require "asyncio"
    local process
    asyncio.run(function()
      process = asyncio.create_subprocess_exec("sleep", 60, { stdout = "pipe", detach = true })
    end)
    print((tostring(process):gsub("%d+ %(", "("):gsub(" %(0x.*", "")))
    asyncio.run(function()
      print(select(2, pcall(process.communicate, process)))
      print(select(2, pcall(getmetatable(process).__close, process)))
    end)
    os.execute("kill " .. process.pid)
  ]]), "asyncio.Process: (sleep 60), left running\n"
    .. ("ClosedError: the process runs on, but its event loop is closed\n"):rep(2))
end

function TestLeft:test_what_is_detached_is_not_reported()
  t.real(function()
    local pid
    do
      local process = asyncio.create_subprocess_exec("sleep", 60, { detach = true })
      pid = process.pid
    end
    t.collect()
    asyncio.sleep(0)
    t.assertTrue(lives(pid))
    os.execute("kill " .. pid)
    t.wait_until(function() return not lives(pid) and t.zombies() == 0 end)
  end)
end

function TestLeft:test_what_has_ended_is_not_reported()
  t.real(function()
    local process = asyncio.create_subprocess_exec("true")
    t.wait_until(function() return not lives(process.pid) end)
    process = nil -- luacheck: ignore 311
    t.collect()
    t.assertEquals(t.zombies(), 0)
  end)
end

function TestLeft:test_a_leader_that_has_ended_is_reaped_when_its_loop_closes()
  t.assertEquals(t.lua [[
    local asyncio = require "asyncio"
    local process
    asyncio.run(function()
      process = asyncio.create_subprocess_exec("true", { process_group = 0 })
      process:wait()
      print(os.execute("kill -0 -" .. process.pid))
    end)
    print(os.execute("kill -0 -" .. process.pid .. " >/dev/null 2>&1"))
    print(process:returncode(), process:kill())
  ]], "true\texit\t0\nnil\texit\t1\n0\tfalse\n")
end

function TestLeft:test_at_the_end_of_a_run_is_reported_and_no_zombie_later()
  local out, err = t.lua [[
    local asyncio = require "asyncio"
    local process
    asyncio.run(function() process = asyncio.create_subprocess_exec("sleep", 60) end)
    print(process:returncode(), process:kill() or os.execute("kill " .. process.pid)) -- where there are no pidfds
    for _ = 1, 3000 do
      local pipe = io.popen("ps -o stat= -p " .. process.pid)
      local state = pipe:read "a"
      pipe:close()
      if state == "" then break end
      os.execute "sleep 0.01"
    end
    print(process:kill())
    asyncio.run(function()
      local ok, err = pcall(process.wait, process)
      print(err)
    end)
    asyncio.run(function() asyncio.create_subprocess_exec("sleep", 0.01, { detach = true }) end)
  ]]
  t.assertEquals(out, "nil\ttrue\nfalse\nClosedError: the process runs on, but its event loop is closed\n")
  t.assertStrMatches(err, "asyncio: process %d+ %(sleep 60%) was left running: nobody will wait for it\n")
end

t.finish { sampled = true }

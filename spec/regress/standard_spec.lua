-- standard_spec.lua - standard streams that lost what went through them: each call made a stream of its own, which was
-- collected with its output, or had read ahead for nobody; errors of the device, and a slow reader, were passed over.
local t = require "helper"
local peers = require "peers"

--- Runs `source` in a shell command around %s; what that printed, and wrote to stderr.
local function run(source, shell)
  return peers.run_in_shell("local asyncio = require 'asyncio'\n" .. source, shell)
end

local function assert_prints(expected, source, shell)
  local output, errors = run(source, shell)
  t.assertEquals(errors, "")
  t.assertTrue(output == expected, ("%q expected, got %q"):format(expected:sub(1, 200), output:sub(1, 200)))
end

local function in_run(body) return "asyncio.run(function()\n" .. body .. "\nend)\n" end

-- A command whose standard input and output are a socket, in place of %s.
local SOCKET = [==[
import socket, subprocess, sys, threading
ours, its = socket.socketpair()
program = subprocess.Popen(["sh", "-c", sys.argv[1]], stdin=its, stdout=its)
its.close()
def send():
    ours.sendall(sys.stdin.buffer.read())
    ours.shutdown(socket.SHUT_WR)
threading.Thread(target=send, daemon=True).start()
while True:
    data = ours.recv(65536)
    if not data: break
    sys.stdout.buffer.write(data)
program.wait()
]==]

--- Calls fn with a shell command that gives the program at %s a socket.
local function with_socket(fn)
  peers.need "python3"
  local python <close> = peers.file(SOCKET)
  fn(("python3 '%s' '%%s'"):format(python.name))
end

TestOneStream = {}

local function numbered(n, width)
  local lines = {}
  for i = 1, n do lines[i] = ("%05d%s\n"):format(i, ("x"):rep(width)) end
  return table.concat(lines)
end

local COPY = in_run "for line in asyncio.stdin():lines() do asyncio.stdout():send(line:upper(), '\\n') end"

function TestOneStream:test_a_writer_that_is_asked_for_again_and_again_loses_no_line()
  local text = numbered(t.count(20000), 100)
  local file <close> = peers.file(text)
  assert_prints(text:upper(), COPY, "cat " .. file.name .. " | %s | cat")
  assert_prints(text:upper(), COPY, "%s <" .. file.name .. " | (sleep 0.1; cat)")
  with_socket(function(shell) assert_prints(text:upper(), COPY, shell .. " <" .. file.name) end)
end

function TestOneStream:test_a_writer_that_nobody_keeps_sends_its_line()
  for _, shell in ipairs { "%s | cat", "%s", "%s 2>&1 >/dev/null | cat" } do
    local name = shell:find "/dev/null" and "stderr" or "stdout"
    assert_prints("the result\n", in_run(("asyncio.%s():write 'the result\\n' collectgarbage() collectgarbage()")
      :format(name)), shell)
  end
end

function TestOneStream:test_is_the_same_for_all_who_ask()
  assert_prints("true\ttrue\ttrue\n", in_run [[
    local a, b, c = asyncio.stdin(), asyncio.stdout(), asyncio.stderr()
    print(a == asyncio.stdin(), b == asyncio.stdout(), c == asyncio.stderr())
  ]])
end

function TestOneStream:test_limit_that_is_given_later_counts_from_then_on()
  assert_prints("false\ttrue\n", in_run [[
    local reader = asyncio.stdin { limit = 4 }
    local short = pcall(reader.readline, reader)
    asyncio.stdin { limit = 100 }
    print(short, reader:readline() == "0123456789\n")
  ]], "echo 0123456789 | %s")
end

function TestOneStream:test_is_no_handle_that_a_test_leaves_open()
  assert_prints("fine\n", [[
    require "asyncio.testing".async(function() asyncio.stdout():write "fine\n" end)()
  ]])
end

local REOPENED = in_run [[
  local former = asyncio.stdout()
  former:write(("x"):rep(1000000), "\n")
  former:close()
  for i = 1, 3 do
    local out = asyncio.stdout()
    assert(out ~= former)
    former = out
    out:write(i, ("y"):rep(100000), "\n")
    if i ~= 2 then asyncio.sleep(0) end
    out:close()
  end
  local _ <close> = asyncio.stdout()
  asyncio.stdout():write "last\n"
]]

function TestOneStream:test_opened_again_goes_on_behind_what_was_written_before()
  local expected = { ("x"):rep(1000000) .. "\n" }
  for i = 1, 3 do expected[#expected + 1] = i .. ("y"):rep(100000) .. "\n" end
  expected = table.concat(expected) .. "last\n"
  for _, shell in ipairs { "%s | cat", "%s | (sleep 0.1; cat)", "%s" } do assert_prints(expected, REOPENED, shell) end
  with_socket(function(shell) assert_prints(expected, REOPENED, shell .. " </dev/null") end)
end

function TestOneStream:test_closed_waits_until_a_socket_has_what_was_written()
  with_socket(function(shell)
    assert_prints(("x"):rep(300000) .. "after\n", in_run [[
      do
        local out <close> = asyncio.stdout()
        out:write(("x"):rep(300000))
      end
      io.write "after\n"
    ]], shell .. " </dev/null")
  end)
end

TestReadAhead = {}

local THREE = "local got = {}\n" .. in_run [[
  for i = 1, 3 do got[i] = asyncio.stdin():readline() collectgarbage() end
]] .. "print((table.concat(got, ','):gsub('\\n', '')))"

local RUNS = [[
  local got = {}
  for i = 1, 3 do
    asyncio.run(function() got[i] = asyncio.stdin():readline() end)
    collectgarbage()
  end
  print((table.concat(got, ','):gsub('\n', '')))
]]

function TestReadAhead:test_is_there_for_the_next_who_asks()
  assert_prints("a,b,c\n", THREE, "printf 'a\\nb\\nc\\n' | %s")
  with_socket(function(shell) assert_prints("a,b,c\n", THREE, "printf 'a\\nb\\nc\\n' | " .. shell) end)
end

function TestReadAhead:test_is_there_in_the_next_loop()
  assert_prints("a,b,c\n", RUNS, "printf 'a\\nb\\nc\\n' | %s")
  local file <close> = peers.file "a\nb\nc\n"
  assert_prints("a,b,c\n", RUNS, "%s <" .. file.name)
  with_socket(function(shell) assert_prints("a,b,c\n", RUNS, "printf 'a\\nb\\nc\\n' | " .. shell) end)
end

function TestReadAhead:test_of_a_large_input_loses_nothing_over_many_loops()
  local text = numbered(3000, 200)
  local file <close> = peers.file(text)
  local source = [[
    local all = {}
    repeat
      local done
      asyncio.run(function()
        for _ = 1, 100 do
          local line = asyncio.stdin():readline()
          if not line then done = true break end
          all[#all + 1] = line
        end
      end)
    until done
    io.write(table.concat(all))
  ]]
  assert_prints(text, source, "cat " .. file.name .. " | %s")
  assert_prints(text, source, "%s <" .. file.name)
  with_socket(function(shell) assert_prints(text, source, shell .. " <" .. file.name) end)
end

function TestReadAhead:test_of_a_file_is_given_back_to_io_read_and_to_the_next_program()
  local file <close> = peers.file "a\nb\nc\nd\n"
  assert_prints("a\nb\nc\nd\n", [[
    io.stdout:setvbuf "no"
    print(io.read())
    asyncio.run(function() print((asyncio.stdin():readline():gsub("\n", ""))) end)
    print(io.read())
    asyncio.run(function() end)
    io.stdin:close() -- gives back what it has read ahead
  ]], "(%s; cat) <" .. file.name)
end

function TestReadAhead:test_of_a_file_that_another_has_read_on_in_stays_for_the_next_loop()
  local file <close> = peers.file(numbered(1000, 200))
  assert_prints("00001\n00002\n", [[
    io.stdout:setvbuf "no"
    local function number() print(asyncio.stdin():readline():sub(1, 5)) end
    asyncio.run(function() number() os.execute "cat >/dev/null" end)
    asyncio.run(number)
  ]], "%s <" .. file.name)
end

function TestReadAhead:test_is_not_taken_before_somebody_asks()
  assert_prints("first\nsecond\n", [[
    io.stdout:setvbuf "no"
    asyncio.run(function()
      asyncio.stdin()
      asyncio.sleep(0.05)
    end)
    print(io.read())
    io.write(io.read "a")
  ]], "printf 'first\\nsecond\\n' | %s")
end

TestDevice = {}

--- What a body says of its error, and what was reported at the end.
local function to_full_disk(body)
  if not io.open "/dev/full" then t.skip "there is no /dev/full" end
  local _, errors = run("local ok, err = pcall(asyncio.run, function()\n" .. body ..
    "\nend)\nio.stderr:write(tostring(ok), ' ', tostring(err):gsub('\\nstack.*', ''), '\\n')", "%s >/dev/full")
  return errors
end

local RAISED = "false [ENOSPC] no space left on device: write stdout\n"

function TestDevice:test_that_is_full_is_an_error_for_who_waits()
  for _, body in ipairs {
    "local out <close> = asyncio.stdout() out:write(('x'):rep(200000))",
    "local out <close> = asyncio.stdout() out:write 'x'",
    "local out = asyncio.stdout() out:write 'x\\n' out:close() out:wait_closed()",
    "local out = asyncio.stdout() out:write 'x\\n' asyncio.sleep(0) out:close() asyncio.sleep(0) out:wait_closed()",
    "local out = asyncio.stdout() out:write 'x\\n' out:drain()",
    "asyncio.stdout():send 'the result\\n'",
    "asyncio.stdout():write_eof() asyncio.stdout():write 'x' asyncio.stdout():drain()", -- another one by then
  } do t.assertEquals(to_full_disk(body), RAISED, body) end
end

local REPORTED = "asyncio: output to stdout was lost\n" ..
  "  exception: [ENOSPC] no space left on device: write stdout\n"

function TestDevice:test_that_is_full_is_reported_when_nobody_waited()
  for _, body in ipairs {
    "asyncio.stdout():write 'x'",
    "local out = asyncio.stdout() out:write 'x' out:close() asyncio.sleep(0)",
    "local out = asyncio.stdout() out:write 'x' asyncio.sleep(0) out:abort()",
  } do t.assertEquals(to_full_disk(body), REPORTED .. "true nil\n", body) end
end

function TestDevice:test_that_is_full_is_reported_too_when_its_stream_was_collected()
  t.assertEquals(to_full_disk [[
    asyncio.stdout():write "x"
    asyncio.stdout():close()
    asyncio.stdout():close()
    collectgarbage() collectgarbage()
    asyncio.sleep(0)
  ]], "asyncio: output to stdout was lost: no space left on device\ntrue nil\n")
end

function TestDevice:test_that_is_full_does_not_hide_the_error_that_leaves_the_block()
  t.assertEquals(to_full_disk [[
    local out <close> = asyncio.stdout()
    out:write "x"
    error("mine", 0)
  ]], REPORTED .. "false mine\n")
end

function TestDevice:test_that_is_full_is_told_once_to_who_has_caught_it()
  t.assertEquals(to_full_disk [[
    local out <close> = asyncio.stdout()
    local ok, err = pcall(out.send, out, "x")
    io.stderr:write(tostring(err.code), "\n")
  ]], "ENOSPC\ntrue nil\n")
end

function TestDevice:test_that_has_only_lost_its_reader_is_no_error_at_the_end()
  local _, errors = run(in_run [[
    local out <close> = asyncio.stdout()
    asyncio.sleep(0.1)
    out:write "x"
  ]], "%s | true")
  t.assertEquals(errors, "")
end

function TestDevice:test_that_cannot_be_read_is_an_error_and_no_end()
  local file <close> = peers.file "text"
  local source = in_run [[
    for _, how in ipairs { "read", "readline", "readexactly" } do
      local reader = asyncio.stdin()
      local ok, err = pcall(reader[how], reader, how == "readexactly" and 1 or nil)
      print(ok, asyncio.isinstance(err, asyncio.OSError) and err)
    end
  ]]
  assert_prints(("false\t[EISDIR] illegal operation on a directory: read stdin\n"):rep(3), source, "%s </tmp")
  assert_prints(("false\t[EBADF] bad file descriptor: read stdin\n"):rep(3), source, "%s 0>>" .. file.name)
end

TestSlowReader = {}

function TestSlowReader:test_gets_everything_however_late_it_begins()
  for _, body in ipairs {
    "", "out:close()", "local _ <close> = out", "asyncio.stdout():write 'more\\n'", "asyncio.stdout():close()",
  } do
    peers.with_signal(function(name, wait)
      -- a timeout that would have let nothing through, and a reader that begins when the run is over
      local source = ([[
        local runner <close> = asyncio.Runner { flush_timeout = 0 }
        runner:run(function()
          local out = asyncio.stdout()
          out:write(("x"):rep(1000000))
          %s
        end)
        runner:get_loop():call_later(0.02, function() io.open("%s", "w"):close() end)
      ]]):format(body, name)
      if body:find "<close>" then source = source:gsub("local out = asyncio.stdout%(%)", "%0 io.open('" .. name ..
        "', 'w'):close()") end
      local expected = 1000000 + (body:find "more" and 5 or 0)
      assert_prints(expected .. "\n", source, "%s | (" .. wait .. "; wc -c)")
    end)
  end
end

function TestSlowReader:test_that_is_a_peer_has_flush_timeout_and_what_it_did_not_take_is_reported()
  local listener = assert(peers.luasocket().bind("127.0.0.1", 0))
  local _, errors = run(([[
    local runner <close> = asyncio.Runner { flush_timeout = 0.02 }
    runner:run(function()
      local _, writer = asyncio.open_connection("127.0.0.1", %d)
      writer:write(("x"):rep(80000000))
    end)
  ]]):format(select(2, listener:getsockname())))
  listener:close()
  local bytes = errors:match
    "^asyncio: (%d+) bytes for 127%.0%.0%.1:%d+ are thrown away: not sent within 0%.02 s %(flush_timeout%)\n$"
  t.assertTrue(bytes ~= nil and tonumber(bytes) > 1000000, errors)
end

function TestSlowReader:test_that_never_reads_is_left_by_ctrl_c()
  local output, errors = run(in_run [[
    asyncio.stdout():write(("x"):rep(1000000))
    io.popen "(sleep 0.2; kill -INT $PPID) &" -- system() ignores SIGINT, for as long as it takes
  ]], "mkfifo $0.fifo; exec 3<>$0.fifo; %s >$0.fifo 3>&-; echo $?; rm $0.fifo")
  t.assertEquals(output, "1\n")
  t.assertStrContains(errors, "KeyboardInterrupt")
end

TestFifo = {}

local LATE = "mkfifo $0.fifo; (printf 'hi' >$0.fifo) & exec 3<$0.fifo; wait; %s <&3; rm $0.fifo"

function TestFifo:test_whose_writer_has_gone_is_at_its_end()
  assert_prints("hi\nnil\n", in_run "print(asyncio.stdin():readline()) print(asyncio.stdin():readline())", LATE)
end

function TestFifo:test_whose_writer_has_gone_ends_the_repl()
  assert_prints("2\n", "os.exit(os.execute('timeout 20 " ..
    (os.getenv "SPEC_LUA" or os.getenv "LUA" or "lua5.4") .. " -l asyncio.repl'))",
    "mkfifo $0.fifo; (echo 'print(1 + 1)' >$0.fifo) & exec 3<$0.fifo; wait; %s <&3; rm $0.fifo")
end

function TestFifo:test_whose_writers_come_and_go_ends_with_the_last()
  assert_prints("one\ntwo\nnil\n", in_run [[
    local reader = asyncio.stdin()
    print((reader:readline():gsub("\n", "")))
    print((reader:readline():gsub("\n", "")))
    print(reader:readline())
  ]], "mkfifo $0.fifo; (exec 4>$0.fifo; echo one >&4; sleep 0.1; echo two >&4) & %s <$0.fifo; wait; rm $0.fifo")
end

TestTerminal = {}

-- A program in a terminal, to which two lines are typed, the end of the input in between.
local PTY = [==[
import os, pty, sys, time
pid, fd = pty.fork()
if pid == 0:
    os.execvp("sh", ["sh", "-c", sys.argv[1]])
shown = b""
def until(what):
    global shown
    while what not in shown:
        shown += os.read(fd, 1000)
until(b"ready"); os.write(fd, b"one\n")
until(b"got one"); os.write(fd, b"\x04")
until(b"the end"); os.write(fd, b"two\n")
until(b"got two")
os.waitpid(pid, 0)
]==]

function TestTerminal:test_goes_on_after_the_end_that_was_typed()
  peers.need "python3"
  local python <close> = peers.file(PTY)
  local _, errors, code = run(in_run [[
    io.stdout:setvbuf "no"
    print "ready"
    print("got " .. asyncio.stdin():readline())
    print(asyncio.stdin():readline() or "the end")
    print("got " .. asyncio.stdin():readline())
  ]], ("python3 '%s' '%%s'"):format(python.name))
  t.assertEquals({ errors, code }, { "", 0 })
end

-- The prompt waited for good: the line was finished, so nothing more was read for it.
function TestTerminal:test_whose_line_there_is_no_memory_for_says_so()
  assert_prints("false\tnot enough memory\n", in_run [[
    local fed
    local editor = { getfd = function() return 0 end }
    function editor:feed()
      if fed then return false end
      fed = true
      error("not enough memory", 0)
    end
    for _, name in ipairs { "start", "stop", "close" } do editor[name] = function() end end
    package.loaded["asyncio.editor"] = { open = function() return editor end }
    local terminal = require "asyncio.terminal".open()
    local ok, why = asyncio.pcall(asyncio.wait_for, asyncio.create_task(terminal.read, terminal, ""), 5)
    terminal:close()
    print(ok, why)
  ]], "echo typed | ASYNCIO_HISTORY= %s")
end

t.finish { sampled = true }

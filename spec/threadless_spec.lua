-- A system that gives no thread: what needs one fails with a reason, and all else goes on.
local t = require "helper"
local kernel = require "kernel"

TestThreadless = {}
TestThreadless.tearDown = kernel.forget

--- What the script prints where no thread can be had.
local function run(source)
  local out = kernel.without("clone3", source)
  if out == "threads\n" then t.skip "threads are made otherwise here" end
  return out
end

function TestThreadless:test_calls_in_threads_fail_with_EAGAIN_and_the_loop_goes_on()
  t.assertEquals(run [[
    local function code(fn, ...)
      local ok, err = pcall(fn, ...)
      return ok or err.code
    end
    if code(asyncio.to_thread, math.abs, 1) == true then return print "threads" end
    print(code(asyncio.to_thread, math.abs, 1))
    print(code(asyncio.fs.stat, "/"), code(asyncio.fs.read_file, "/dev/null"), code(asyncio.open, "/dev/null"))
    print(code(asyncio.open_connection, "localhost", 1))
    local executor <close> = asyncio.ThreadPoolExecutor { max_workers = 2 }
    print(code(asyncio.get_running_loop().run_in_executor, asyncio.get_running_loop(), executor, math.abs, 1))
    local ok, watch = pcall(asyncio.fs.watch, "/")
    print(ok and code(watch) or watch.code)
    print(code(asyncio.open_fd, assert(io.open "/dev/zero")))
    local several = {}
    for i = 1, 5 do several[i] = asyncio.create_task(code, asyncio.fs.stat, "/") end
    print(table.unpack(asyncio.gather(several)))
    print(asyncio.sleep(0, "well"))
  ]], "EAGAIN\nEAGAIN\tEAGAIN\tEAGAIN\nEAGAIN\nEAGAIN\nEAGAIN\nEAGAIN\n" .. ("EAGAIN\t"):rep(4) .. "EAGAIN\nwell\n")
end

t.finish()

-- slow: starts a program thousands of times
-- A finaliser that runs in the middle of a call, at each of its allocations, and does what the call is about to do:
-- "not there yet, allocate, store" lost what it had stored, or crashed. `make finalisers` tries all calls.
local t = require "helper"
local oom = require "oom"

TestFinaliser = {}

--- Every allocation of the cases whose name has that, with all that a finaliser does in tools/oom/finalisers.lua.
local function each_allocation_of(pattern)
  return function() oom.run(("-P '%s'"):format(pattern), "finalisers") end
end

TestFinaliser.test_a_task_that_is_cancelled_loses_no_request_and_no_error = each_allocation_of "task cancel +"
TestFinaliser.test_a_task_that_is_named_keeps_its_other_extras = each_allocation_of "task name +"
TestFinaliser.test_a_callback_that_is_added_is_called_once = each_allocation_of "future add_done_callback"
TestFinaliser.test_callbacks_that_are_added_while_it_fails_are_called = each_allocation_of "future with callbacks"
TestFinaliser.test_callbacks_of_a_task_that_ends_are_called = each_allocation_of "task with callbacks"
TestFinaliser.test_a_descriptor_that_is_watched_twice_has_one_watch = each_allocation_of "loop add_reader"
TestFinaliser.test_a_signal_that_is_handled_twice_has_one_handler = each_allocation_of "loop add_signal_handler"
TestFinaliser.test_a_scope_that_is_entered_is_left = each_allocation_of "limit timeout"
TestFinaliser.test_a_timeout_that_is_rescheduled_twice_fires_once = each_allocation_of "limit rescheduled"
TestFinaliser.test_a_group_that_is_cancelled_starts_no_more = each_allocation_of "several group_failing"
TestFinaliser.test_a_context_that_is_set_loses_no_value = each_allocation_of "context +"

function TestFinaliser:test_objects_that_cancel_their_task_when_they_are_collected()
  local output, errors, code = t.lua(([[
    local asyncio = require "asyncio"
    local function watcher()
      for _ = 1, 3 do
        local _ <close> = asyncio.timeout(1)
        asyncio.sleep(0)
      end
    end
    local Object = { __gc = function(self) self.task:cancel() end }
    asyncio.run(function()
      asyncio.get_running_loop():set_exception_handler(function(_, context)
        print(context.message, context.exception)
      end)
      for _ = 1, %d do
        for _ = 1, 300 do setmetatable({ task = asyncio.create_task(watcher) }, Object) end
        asyncio.sleep(0)
      end
    end)
    print "survived"
  ]]):format(t.count(200)))
  t.assertEquals({ output, errors, code }, { "survived\n", "", 0 })
end

t.leave_out(TestFinaliser, ".")
t.finish()

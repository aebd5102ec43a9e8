-- What memory that ran out has brought to light. Each test lets every allocation of a part of
-- tools/oom/scenario.lua fail, one after the other.
local t = require "helper"
local oom = require "oom"

TestMemory = {}

-- A callback of the Lua layer that failed was reported, and who waited for what it was to do waited on.
function TestMemory:test_for_a_deadline_does_not_leave_its_task_waiting() oom.run "-p timeouts -m lua-rest" end

-- A task was counted by its group before the group could be told of its end.
function TestMemory:test_for_a_task_of_a_group_does_not_leave_the_group_waiting()
  oom.run "-p taskgroup -m lua-once"
end

-- A callback that nobody could be told of was called again and again.
function TestMemory:test_for_the_report_of_a_callback_ends_the_run() oom.run "-p descriptors -m lua-rest" end

-- A connection that was half made stayed open, held by the loop, without a handler: its peer waited.
function TestMemory:test_for_a_handler_closes_its_connection() oom.run "-p 'failing handlers' -m lua-once" end

-- The thread that copies a standard stream, and its descriptors, were left when the stream could not be made;
-- its record was when standard input was closed before the loop.
function TestMemory:test_for_a_standard_stream_leaves_nothing()
  oom.run "-p 'standard streams' -m c-once"
  oom.run "-p 'left open' -m c-once"
end

-- A failed future stood in a list of the loop; without memory its finaliser, which took it out, was not called.
function TestMemory:test_for_a_finaliser_leaves_no_dangling_list() oom.run "-p 'lost errors' -m lua-once" end

t.leave_out(TestMemory, ".")
t.finish()

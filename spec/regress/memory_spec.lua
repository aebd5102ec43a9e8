-- slow: starts a program hundreds of times
-- oom.run fails when one of its programs crashes, hangs, or leaves anything.
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

-- lines() had taken a line before there was memory for it without its newline; what an IncompleteReadError was
-- to hand on was taken before there was room for it.
function TestMemory:test_for_a_line_leaves_it_to_be_read() oom.run "-p lines -m lua-once" end

-- libuv opens a terminal that it is given once more: ours stayed open, with memory or without.
function TestMemory:test_or_none_leaves_no_descriptor_of_a_terminal() oom.run "-p 'plain terminal' -m c-once" end

-- The cancellation of a job that runs a loop was reported as an error of a callback, and the job went on.
function TestMemory:test_for_the_cancellation_of_a_job_ends_the_job() oom.run "-p threads -m thread-lua-once" end

-- A call from another thread was lost without a word that a program could hear.
function TestMemory:test_for_a_call_from_a_thread_ends_the_run() oom.run "-p remote -m lua-rest" end

-- Channels that lie in each other keep each other; ended with close(true) they don't.
function TestMemory:test_of_channels_that_lie_in_each_other_is_given_back()
  oom.run "-p 'channels in channels' -m c-once"
end

-- The block of a stream that was gone but for its last turn in the loop was never freed when the program ended
-- right before that. No memory runs out here; the program counts the blocks.
function TestMemory:test_is_given_back_when_a_stream_was_about_to_be_freed()
  oom.run "-p 'exit before a stream is freed' -m c-once -n 1000000"
end

-- A stream's block was left behind when there was no memory to note, in debug mode, where it was opened.
function TestMemory:test_for_a_place_leaves_no_stream() oom.run "-p 'debug streams' -m lua-rest" end

-- Jobs that were to be stored were left behind, and who had submitted them waited.
function TestMemory:test_for_a_job_leaves_no_submit_waiting() oom.run "-p distributed -m lua-once" end

t.leave_out(TestMemory, ".")
t.finish()

-- asyncio.fs.watch: what happens to files and folders is told, and nothing is missed.
local t = require "helper"
local program = require "program"
local asyncio = t.asyncio

TestFolder = {}
TestFile = {}
TestTree = {}
TestDebounce = {}
TestWatch = {}
TestLimits = {}
TestErrors = {}

local watch = asyncio.fs.watch

-- What the specs do to files is done by shells, and told at once: the kernel has it when they have ended.

local folder

local function sh(script) assert(os.execute(("cd '%s' && { %s; }"):format(folder, script))) end

local function set_up()
  folder = os.tmpname()
  assert(os.execute(("rm -f '%s' && mkdir '%s'"):format(folder, folder)))
end

local function tear_down() os.execute(("chmod -R u+rwx '%s'; rm -rf '%s' '%s'.*"):format(folder, folder, folder)) end

for _, class in ipairs { TestFolder, TestFile, TestTree, TestDebounce, TestWatch, TestLimits, TestErrors } do
  class.setUp, class.tearDown = set_up, tear_down
end

--- An event in a word or two, with paths below the folder.
local function words(event)
  local prefix = "^" .. folder:gsub("%p", "%%%0") .. "/?"
  local function short(path) return (path:gsub(prefix, "./"):gsub("^%./(.)", "%1")) end
  return event.kind .. " " .. (event.from and short(event.from) .. " " or "") .. short(event.path)
end

--- The next n events, in words.
local function take(w, n)
  local list = {}
  for i = 1, n do list[i] = words(assert(w(), "the watch has ended")) end
  return table.concat(list, ", ")
end

--- What follows, up to what the spec does last, which makes a file of that name and removes it again.
local function take_until(w, name)
  local list = {}
  while true do
    local event = words(w())
    if event == "removed " .. name then return table.concat(list, ", ") end
    if event ~= "created " .. name and event ~= "changed " .. name then list[#list + 1] = event end
  end
end

local function all(w, script, where)
  local name = (where or "") .. "END"
  sh(("%s; : > %s; rm %s"):format(script, name, name))
  return take_until(w, name)
end

-- a folder

function TestFolder:test_tells_of_files_that_are_made_written_and_removed()
  t.real(function()
    local w <close> = watch(folder)
    sh "echo tea > tea"
    t.assertEquals(take(w, 2), "created tea, changed tea")
    sh "echo more >> tea; rm tea"
    t.assertEquals(take(w, 2), "changed tea, removed tea")
  end)
end

function TestFolder:test_tells_of_new_permissions_and_times()
  t.real(function()
    sh ": > tea"
    local w <close> = watch(folder)
    sh "chmod 600 tea"
    t.assertEquals(take(w, 1), "changed tea")
    sh "touch -d 2020-01-01 tea"
    t.assertEquals(take(w, 1), "changed tea")
    sh "chmod 700 ."
    t.assertEquals(take(w, 1), "changed ./")
  end)
end

function TestFolder:test_tells_of_a_new_name_with_the_old_one()
  t.real(function()
    sh ": > tea"
    local w <close> = watch(folder)
    sh "mv tea coffee"
    local event = w()
    t.assertEquals(event, { kind = "renamed", path = folder .. "/coffee", from = folder .. "/tea" })
  end)
end

function TestFolder:test_tells_of_what_comes_from_or_goes_elsewhere_as_made_and_removed()
  t.real(function()
    sh "mkdir here there; : > here/tea; : > there/coffee"
    local w <close> = watch(folder .. "/here")
    sh "mv here/tea there; mv there/coffee here"
    t.assertEquals(take(w, 2), "removed here/tea, created here/coffee")
  end)
end

function TestFolder:test_is_not_told_of_what_happens_below_it()
  t.real(function()
    sh "mkdir a"
    local w <close> = watch(folder)
    t.assertEquals(all(w, "mkdir a/b; : > a/b/c; mv a d; : > d/e"), "renamed a d")
  end)
end

function TestFolder:test_that_is_removed_and_made_again_is_watched_on()
  t.real(function()
    sh "mkdir a"
    local w <close> = watch(folder .. "/a")
    sh "rmdir a"
    t.assertEquals(take(w, 1), "removed a")
    sh "mkdir a"
    t.assertEquals(take(w, 1), "created a")
    sh ": > a/tea"
    t.assertEquals(take(w, 1), "created a/tea")
  end)
end

function TestFolder:test_that_goes_elsewhere_is_left_alone_there()
  t.real(function()
    sh "mkdir a b"
    local w <close> = watch(folder .. "/a", { recursive = true })
    sh "mv a b/; : > b/a/tea; mkdir a"
    t.assertEquals(take(w, 2), "removed a, created a")
    sh ": > b/a/coffee; : > a/milk"
    t.assertEquals(take(w, 1), "created a/milk")
  end)
end

function TestFolder:test_whose_own_folder_goes_too_ends_the_iteration()
  t.real(function()
    sh "mkdir -p a/b"
    local w <close> = watch(folder .. "/a/b")
    sh "rm -r a"
    local events = {}
    for event in w do events[#events + 1] = words(event) end
    t.assertEquals(events, { "removed a/b" })
    t.assertNil(w())
  end)
end

function TestFolder:test_that_is_reached_by_a_link_is_watched()
  t.real(function()
    sh "mkdir a b; ln -s a link"
    local w <close> = watch(folder .. "/link")
    sh ": > a/tea"
    t.assertEquals(take(w, 1), "created link/tea")
    sh "ln -s b new; mv -T new link"
    t.assertEquals(take(w, 2), "removed link, created link")
    sh ": > a/coffee; : > b/milk"
    t.assertEquals(take(w, 1), "created link/milk")
  end)
end

function TestFolder:test_has_the_path_that_was_given_before_its_names()
  t.real(function()
    local slashes <close> = watch(folder .. "///")
    local root <close> = watch "/"
    local dot <close> = watch "."
    sh ": > tea"
    t.assertEquals(slashes().path, folder .. "/tea")
    t.assertStrContains(tostring(root), "asyncio.Watch: /, 0 events")
    local name = os.tmpname():match "[^/]*$"
    assert(os.execute((": > %s; rm %s"):format(name, name)))
    t.assertEquals(dot().path, "./" .. name)
  end)
end

function TestFolder:test_has_any_name()
  t.real(function()
    local w <close> = watch(folder)
    local name = ("n"):rep(254) .. "\n"
    assert(io.open(folder .. "/" .. name, "w")):close()
    assert(io.open(folder .. "/\xff\1 ", "w")):close()
    t.assertEquals(w().path, folder .. "/" .. name)
    t.assertEquals(w().path, folder .. "/\xff\1 ")
  end)
end

-- a file

function TestFile:test_tells_of_changes()
  t.real(function()
    sh "echo tea > tea"
    local w <close> = watch(folder .. "/tea")
    sh "echo more >> tea; : > coffee"
    t.assertEquals(take(w, 1), "changed tea")
    sh "chmod 600 tea"
    t.assertEquals(take(w, 1), "changed tea")
  end)
end

function TestFile:test_survives_being_renamed_over()
  t.real(function()
    sh "echo tea > tea"
    local w <close> = watch(folder .. "/tea")
    for _ = 1, 3 do
      sh "echo coffee > new; mv new tea"
      t.assertEquals(take(w, 1), "changed tea")
      sh "echo more >> tea"
      t.assertEquals(take(w, 1), "changed tea")
    end
  end)
end

function TestFile:test_survives_a_rotation()
  t.real(function()
    sh "echo tea > log"
    local w <close> = watch(folder .. "/log")
    sh "mv log log.1; echo tea > log"
    t.assertEquals(take(w, 2), "removed log, created log")
    sh "echo old >> log.1; rm log.1; echo new >> log"
    t.assertEquals(take(w, 1), "changed log")
    sh "rm log"
    t.assertEquals(take(w, 1), "removed log")
    sh "echo tea > log"
    t.assertEquals(take(w, 1), "created log")
    sh "echo tea >> log"
    t.assertEquals(take(w, 1), "changed log")
  end)
end

function TestFile:test_is_told_of_once_when_its_last_name_goes()
  t.real(function()
    sh "echo tea > tea; ln tea other"
    local w <close> = watch(folder .. "/tea")
    sh "rm other"
    t.assertEquals(take(w, 1), "changed tea") -- it has one name less
    sh "rm tea; echo coffee > tea"
    t.assertEquals(take(w, 2), "removed tea, created tea")
  end)
end

function TestFile:test_may_be_written_by_another_name()
  t.real(function()
    sh "mkdir a; echo tea > a/tea; ln a/tea tea"
    local w <close> = watch(folder .. "/tea")
    sh "echo more >> a/tea"
    t.assertEquals(take(w, 1), "changed tea")
  end)
end

function TestFile:test_may_be_a_link_whose_target_is_replaced()
  t.real(function()
    sh "mkdir a; echo tea > a/tea; ln -s a/tea link"
    local w <close> = watch(folder .. "/link")
    sh "echo more >> a/tea"
    t.assertEquals(take(w, 1), "changed link")
    sh "echo coffee > new; mv new a/tea"
    t.assertEquals(take(w, 1), "changed link")
    sh "echo more >> a/tea"
    t.assertEquals(take(w, 1), "changed link")
    sh "rm a/tea"
    t.assertEquals(take(w, 1), "removed link")
    sh "echo tea > a/tea"
    t.assertEquals(take(w, 1), "created link")
  end)
end

function TestFile:test_may_be_reached_by_a_folder_that_is_a_link_and_replaced()
  t.real(function()
    sh "mkdir v1 v2; echo 1 > v1/conf; echo 2 > v2/conf; ln -s v1 data; ln -s data/conf conf"
    local w <close> = watch(folder .. "/conf")
    sh "ln -s v2 new; mv -T new data; rm -r v1"
    t.assertEquals(take(w, 1):gsub("removed conf", "changed conf"), "changed conf")
  end)
end

-- a tree

local RECURSIVE = { recursive = true }

function TestTree:test_tells_of_what_happens_in_folders_below()
  t.real(function()
    sh "mkdir -p a/b/c"
    local w <close> = watch(folder, RECURSIVE)
    sh ": > a/b/c/tea; mv a/b/c/tea a/tea; rm a/tea"
    t.assertEquals(take(w, 3), "created a/b/c/tea, renamed a/b/c/tea a/tea, removed a/tea")
  end)
end

function TestTree:test_tells_of_what_a_new_folder_holds()
  t.real(function()
    local w <close> = watch(folder, RECURSIVE)
    sh "mkdir -p a/b; : > a/b/tea; : > a/coffee"
    local events = { take(w, 4):match "(.*), (.*), (.*), (.*)" }
    table.sort(events)
    t.assertEquals(events, { "created a", "created a/b", "created a/b/tea", "created a/coffee" })
    sh "echo tea > a/b/tea"
    t.assertEquals(take(w, 1), "changed a/b/tea")
  end)
end

function TestTree:test_tells_of_what_a_folder_holds_that_comes_from_elsewhere()
  t.real(function()
    sh "mkdir -p here there/a/b; : > there/a/b/tea"
    local w <close> = watch(folder .. "/here", RECURSIVE)
    sh "mv there/a here/a"
    t.assertEquals(take(w, 3), "created here/a, created here/a/b, created here/a/b/tea")
    sh "mv here/a there/a"
    t.assertEquals(take(w, 1), "removed here/a")
    t.assertEquals(all(w, ": > there/a/b/coffee", "here/"), "")
  end)
end

function TestTree:test_knows_a_folder_by_its_new_name()
  t.real(function()
    sh "mkdir -p a/b/c d"
    local w <close> = watch(folder, RECURSIVE)
    sh "mv a/b d/e; : > d/e/c/tea"
    t.assertEquals(take(w, 2), "renamed a/b d/e, created d/e/c/tea")
    sh "mv d f; : > f/e/c/coffee"
    t.assertEquals(take(w, 2), "renamed d f, created f/e/c/coffee")
  end)
end

function TestTree:test_follows_no_links()
  t.real(function()
    sh "mkdir -p here there/a; ln -s ../there here/link; ln -s . here/self"
    local w <close> = watch(folder .. "/here", RECURSIVE)
    t.assertEquals(all(w, ": > there/tea; ln -s ../there/a here/new; : > there/a/tea", "here/"),
      "created here/new")
  end)
end

function TestTree:test_leaves_out_folders_that_may_not_be_read()
  if program.shell "id -u" == "0\n" then return end -- root may
  t.real(function()
    sh "mkdir a b; chmod 0 a"
    local w <close> = watch(folder, RECURSIVE)
    sh ": > b/tea"
    t.assertEquals(take(w, 1), "created b/tea")
  end)
end

function TestTree:test_may_be_deep()
  t.real(function()
    local deep = ("d/"):rep(1000)
    local w <close> = watch(folder, RECURSIVE)
    sh("mkdir -p " .. deep)
    for i = 1, 1000 do t.assertEquals(w().path, folder .. ("/d"):rep(i)) end
    sh("rmdir " .. deep)
    t.assertEquals(w(), { kind = "removed", path = folder .. ("/d"):rep(1000) })
  end)
end

-- many at once

--- What a list of paths is after an event.
local function apply(mirror, event)
  local path, below = event.from or event.path, (event.from or event.path) .. "/"
  if event.kind == "created" then mirror[path] = true end
  if event.kind ~= "removed" and event.kind ~= "renamed" then return end
  local names = {}
  for name in pairs(mirror) do
    if name == path or name:sub(1, #below) == below then names[#names + 1] = name end
  end
  for _, name in ipairs(names) do mirror[name] = nil end
  if event.kind == "removed" then return end
  local old = {}
  for name in pairs(mirror) do
    if name:sub(1, #event.path + 1) == event.path .. "/" then old[#old + 1] = name end
  end
  for _, name in ipairs(old) do mirror[name] = nil end
  mirror[event.path] = true
  for _, name in ipairs(names) do mirror[event.path .. name:sub(#path + 1)] = true end
end

local function sorted(set)
  local list = {}
  for name in pairs(set) do list[#list + 1] = name end
  table.sort(list)
  return list
end

local function tree()
  local list = {}
  for line in program.shell("find '%s' -mindepth 1", folder):gmatch "[^\n]+" do list[line] = true end
  list[folder .. "/END"] = nil
  return sorted(list)
end

--- A program that makes, moves and removes folders and files as chance wants it, as fast as it can.
local MESS = [[#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>
static int chance(int n) { return (int)((unsigned)rand() >> 8) % n; }
static void pick(char *p) { /* "./0/2/1" */
  int n = sprintf(p, ".");
  for (int d = 1 + chance(4); d > 0; d--) n += sprintf(p + n, "/%d", chance(3));
}
int main(int argc, char **argv) {
  char p[64], q[80];
  int n = atoi(argv[1]), pause = atoi(argv[3]);
  srand((unsigned)atoi(argv[2]));
  for (int i = 0; i < n; i++) {
    pick(p);
    pick(q);
    switch (chance(8)) {
    case 0: case 1: case 2: mkdir(p, 0755); break;
    case 3: sprintf(q, "%s/f%d", p, chance(3)); close(open(q, O_WRONLY | O_CREAT, 0644)); break;
    case 4: sprintf(q, "%s/f%d", p, chance(3)); unlink(q); break;
    case 5: rmdir(p); break;
    default: rename(p, q);
    }
    if (pause && chance(pause) == 0) usleep((useconds_t)chance(300));
  }
  close(open("END", O_WRONLY | O_CREAT, 0644));
  return argc == 4 ? 0 : 1;
}
]]

local mess_path

local function compile_mess()
  if mess_path then return mess_path end
  local source = program.file_with(MESS)
  mess_path = os.tmpname()
  assert(os.execute(("cc -x c -O1 -o %s %s"):format(mess_path, source)))
  os.remove(source)
  return mess_path
end

--- pause: it rests after so many steps, now and then; 0: never
local function follow(seed, n, pause)
  local mess_program = compile_mess()
  t.real(function()
    sh "mkdir -p 0/1 1/2/0; : > 0/f1"
    local w <close> = watch(folder, RECURSIVE)
    local mirror = {}
    for _, path in ipairs(tree()) do mirror[path] = true end
    local mess <close> = asyncio.create_subprocess_exec(mess_program, n, seed, pause, { cwd = folder })
    for event in w do
      t.assertNotEquals(event.kind, "rescan")
      if event.path == folder .. "/END" then break end
      apply(mirror, event)
    end
    mess:wait()
    local now = tree()
    while table.concat(sorted(mirror), "\n") ~= table.concat(now, "\n") do -- what was found meanwhile comes last
      local in_time, event = asyncio.move_on_after(10, w)
      if not in_time then t.assertEquals(sorted(mirror), now, ("seed %d"):format(seed)) end
      apply(mirror, event)
    end
    -- and each folder is watched, by its name
    for path in program.shell("find '%s' -mindepth 1 -type d", folder):gmatch "[^\n]+" do
      assert(io.open(path .. "/CHECK", "w")):close()
      local event
      repeat event = w() until event.path:match "/CHECK$"
      t.assertEquals(event, { kind = "created", path = path .. "/CHECK" })
    end
  end)
end

function TestTree:test_is_known_by_its_events_whatever_happens_how_fast()
  for _ = 1, t.count(4) do
    follow(math.random(1, 30000), t.count(1000), math.random(0, 20))
    tear_down()
    set_up()
  end
end

-- several of a path as one

function TestDebounce:test_tells_once_what_happens_to_a_path_in_so_many_seconds()
  t.run(function()
    sh "echo tea > tea"
    local w <close> = watch(folder, { debounce = 2 })
    sh "echo more >> tea; echo coffee > coffee; chmod 600 tea"
    local begin = asyncio.time()
    t.assertEquals(take(w, 2), "changed tea, created coffee")
    t.assertEquals(asyncio.time() - begin, 2)
  end)
end

function TestDebounce:test_tells_nothing_of_what_came_and_went()
  t.run(function()
    sh "echo tea > tea"
    local w <close> = watch(folder, { debounce = 2 })
    sh ": > swap; echo new > new; mv new tea; rm swap; : > last"
    t.assertEquals(take(w, 2), "created tea, created last")
  end)
end

function TestDebounce:test_begins_anew_when_its_time_is_over()
  t.run(function()
    sh "echo tea > tea"
    local w <close> = watch(folder, { debounce = 2 })
    for _ = 1, 3 do
      local begin = asyncio.time()
      sh "echo more >> tea"
      t.assertEquals(take(w, 1), "changed tea")
      t.assertEquals(asyncio.time() - begin, 2)
    end
  end)
end

function TestDebounce:test_sums_up()
  for _, case in ipairs {
    { ": > a", "rm a; : > a", "changed a" },
    { ": > a", "echo x > a; rm a", "removed a" },
    { ": > a", "mv a b", "renamed a b" },
    { ": > a", "echo x > a; mv a b; echo y > b", "renamed a b" },
    { ": > a", "mv a b; rm b", "renamed a b, removed b" },
    { ": > a", "mv a b; mv b c", "renamed a b, renamed b c" },
    { ":", ": > a; mv a b; echo x > b", "created b" },
    { ": > b", "rm b; : > a; mv a b", "changed b" },
    { ": > a; : > b", "rm b; mv a b", "renamed a b" },
    { ":", ": > a; rm a; : > a", "created a" },
  } do
    t.run(function()
      sh("rm -f *; " .. case[1])
      local w <close> = watch(folder, { debounce = 1 })
      sh(case[2])
      local list = {}
      asyncio.move_on_after(1.5, function()
        for event in w do list[#list + 1] = words(event) end
      end)
      t.assertEquals(table.concat(list, ", "), case[3], case[2])
    end)
  end
end

function TestDebounce:test_tells_what_it_holds_before_the_end()
  t.run(function()
    sh "mkdir -p a/b"
    local w <close> = watch(folder .. "/a/b", { debounce = 5 })
    sh "rm -r a"
    t.assertEquals(take(w, 1), "removed a/b")
    t.assertNil(w())
  end)
end

-- as an object

function TestWatch:test_is_closed_by_its_for()
  t.real(function()
    local w
    local f, s, v, closing = watch(folder)
    t.assertTrue(rawequal(f, closing))
    t.assertEquals({ s, v }, {})
    sh ": > tea"
    for event in f, s, v, closing do
      w = f
      t.assertEquals(event.kind, "created")
      break
    end
    t.assertStrContains(tostring(w), "closed")
    t.assertNil(w())
  end)
end

function TestWatch:test_that_is_closed_gives_nil_to_who_waits()
  t.real(function()
    local w = watch(folder)
    local tasks = { asyncio.create_task(w), asyncio.create_task(w) }
    t.until_blocked()
    w:close()
    w:close()
    t.assertNil(asyncio.await(tasks[1]))
    t.assertNil(asyncio.await(tasks[2]))
    t.assertNil(w())
  end)
end

function TestWatch:test_gives_each_event_to_one_of_those_who_wait()
  t.real(function()
    local w <close> = watch(folder)
    local a, b = asyncio.create_task(w), asyncio.create_task(w)
    t.until_blocked()
    sh "mkdir 1 2 3"
    t.assertEquals(words(asyncio.await(a)), "created 1")
    t.assertEquals(words(asyncio.await(b)), "created 2")
    t.assertEquals(take(w, 1), "created 3")
  end)
end

function TestWatch:test_loses_no_event_when_a_call_is_cancelled()
  t.real(function()
    local w <close> = watch(folder)
    local task = asyncio.create_task(w)
    t.until_blocked()
    sh ": > tea"
    task:cancel()
    asyncio.wait { task }
    t.assertEquals(task:cancelled() and take(w, 1) or words(task:result()), "created tea")
  end)
end

function TestWatch:test_is_a_kind_of_its_own()
  t.real(function()
    local w <close> = watch(folder)
    t.assertEquals(asyncio.type(w), "Watch")
    t.assertStrMatches(tostring(w), "asyncio%.Watch: " .. folder:gsub("%p", "%%%0") .. ", 0 events %(0x%x+%)")
    local task <close> = asyncio.create_task(w)
    t.until_blocked()
    t.assertStrContains(asyncio.format_call_graph(task), "watch, " .. folder)
  end)
end

function TestWatch:test_that_is_collected_warns_and_gives_its_descriptors_back()
  local out, err = t.lua([[
    warn "@on"
    local asyncio = require "asyncio"
    local descriptors = require "files.place".descriptors
    asyncio.run(function()
      asyncio.fs.watch("/tmp"):close()
      asyncio.sleep(0)
      collectgarbage()
      local before = descriptors()
      for _ = 1, 3 do asyncio.fs.watch "/tmp" end
      collectgarbage() collectgarbage()
      asyncio.sleep(0.01)
      print(descriptors() == before)
    end)
  ]])
  t.assertEquals(out, "true\n")
  local line = "Lua warning: asyncio: a watch of /tmp was not closed before it was collected\n"
  t.assertEquals(err, line:rep(3))
end

function TestWatch:test_that_is_left_open_is_reported_in_debug_mode()
  local _, err = t.lua [[
    local asyncio = require "asyncio"
    local w
    do
      local runner <close> = asyncio.Runner { debug = true }
      runner:run(function() w = asyncio.fs.watch "/tmp" end)
    end
    print(w)
  ]]
  t.assertStrContains(err, "a watch of /tmp was not closed")
  t.assertStrContains(err, "opened at")
end

function TestWatch:test_belongs_to_one_loop()
  local w
  t.real(function(reports)
    w = watch(folder)
    local other = asyncio.new_event_loop()
    other:close()
    w:close()
    t.assertEquals(#reports, 0)
  end)
  t.real(function() t.assertNil(w()) end)
end

function TestWatch:test_needs_a_task()
  t.real(function()
    local w <close> = watch(folder)
    local err
    asyncio.get_running_loop():call_soon(function() err = t.error_of(w) end)
    asyncio.sleep(0)
    asyncio.sleep(0)
    t.assertStrContains(tostring(err), "task")
  end)
end

-- limits

--- How many events the kernel keeps for one watch.
local function queue_length()
  local file = io.open "/proc/sys/fs/inotify/max_queued_events"
  if not file then return 16384 end
  local n = file:read "n"
  file:close()
  return n
end

function TestLimits:test_an_overflow_is_told_as_rescan_and_nothing_is_missed_then()
  t.real(function()
    sh "mkdir -p a/b; : > x"
    local w <close> = watch(folder, RECURSIVE)
    local x, y = folder .. "/x", folder .. "/y"
    for _ = 1, queue_length() // 4 + 10 do
      assert(os.rename(x, y))
      assert(os.rename(y, x))
    end
    sh "mkdir -p a/b/c" -- while nobody is told
    local event
    repeat event = w() until event.kind == "rescan" or event.path == "END"
    t.assertEquals(event, { kind = "rescan", path = folder })
    sh ": > a/b/c/tea"
    t.assertEquals(take(w, 1), "created a/b/c/tea")
  end)
end

function TestLimits:test_what_nobody_takes_is_kept_up_to_a_number_of_events()
  t.real(function()
    local w <close> = watch(folder)
    local x = folder .. "/x"
    local n, most = 0, queue_length()
    for _ = 1, 4 do
      for _ = 1, most // 3 do
        assert(io.open(x, "w")):close()
        os.remove(x)
      end
      t.until_blocked()
      asyncio.sleep(0.01)
    end
    t.assertTrue(tonumber(tostring(w):match ", (%d+) events") <= 2 * 16384)
    local event
    repeat
      event = w()
      n = n + 1
    until event.kind == "rescan"
    t.assertTrue(n >= 16384)
    t.assertEquals(all(w, ": > tea"), "created tea")
  end)
end

--- Runs a script with a limit of inotify's of its own, where that can be set: in a user namespace.
local function limited(limit, value, script)
  local path = program.file_with(script)
  local out, status = program.shell(
    "unshare -Ur sh -c 'echo %d > /proc/sys/user/%s && exec timeout 30 %s %s' 2>&1", value, limit,
    os.getenv "SPEC_LUA" or program.plain_lua, path)
  os.remove(path)
  return out, status
end

local function can_limit()
  return program.shell "unshare -Ur sh -c 'echo 100 > /proc/sys/user/max_inotify_watches' 2>&1; echo $?" == "0\n"
end

function TestLimits:test_of_the_systems_watches_are_told_with_what_to_do()
  if not can_limit() then return end
  sh "mkdir -p a/b/c"
  t.assertEquals(limited("max_inotify_watches", 4, ([[
    local asyncio = require "asyncio"
    asyncio.run(function()
      local ok, err = pcall(asyncio.fs.watch, "%s", { recursive = true })
      print(ok, err.code, err.path, asyncio.type(err))
      print(err)
      local w <close> = asyncio.fs.watch("%s/a/b/c")
      print(w ~= nil)
    end)
  ]]):format(folder, folder)), ([[
false	ENOSPC	%s/a/b/c	OSError
[ENOSPC] the system allows no more watches: raise fs.inotify.max_user_watches (sysctl), or watch fewer folders: %s/a/b/c
true
]]):format(folder, folder))
end

function TestLimits:test_reached_later_are_raised_once_what_came_before_has_been_told()
  if not can_limit() then return end
  sh "mkdir here"
  local out = limited("max_inotify_watches", 4, ([[
    local asyncio = require "asyncio"
    asyncio.run(function()
      local w <close> = asyncio.fs.watch("%s/here", { recursive = true })
      os.execute "cd %s/here; mkdir a; mkdir a/b; mkdir a/b/c; mkdir a/b/c/d"
      for i = 1, 3 do print(w().kind) end
      print(pcall(function() for i = 1, 10 do w() end end))
      local ok, err = pcall(w)
      print(ok, err.code)
    end)
  ]]):format(folder, folder))
  t.assertStrContains(out, "created\ncreated\ncreated\nfalse\t[ENOSPC] the system allows no more watches")
  t.assertStrContains(out, "\nfalse\tENOSPC\n")
end

function TestLimits:test_of_watches_at_once_are_told_with_what_to_do()
  if not can_limit() then return end
  t.assertStrContains(limited("max_inotify_instances", 1, [[
    local asyncio = require "asyncio"
    asyncio.run(function()
      local w <close> = asyncio.fs.watch "/tmp"
      print(pcall(asyncio.fs.watch, "/tmp"))
    end)
  ]]), "[EMFILE] too many watches at once: raise fs.inotify.max_user_instances")
end

-- errors

function TestErrors:test_what_is_not_there_is_not_found()
  t.real(function()
    local err = t.assert_raises(asyncio.FileNotFoundError, watch, folder .. "/nothing")
    t.assertEquals(err.path, folder .. "/nothing")
    t.assert_raises(asyncio.FileNotFoundError, watch, "")
    sh ": > file"
    t.assert_raises(asyncio.NotADirectoryError, watch, folder .. "/file/name")
    sh "ln -s loop loop"
    t.assertEquals(t.assert_raises(asyncio.OSError, watch, folder .. "/loop").code, "ELOOP")
  end)
end

function TestErrors:test_what_may_not_be_read_may_not_be_watched()
  if program.shell "id -u" == "0\n" then return end
  t.real(function()
    sh "mkdir a; chmod 0 a"
    t.assert_raises(asyncio.PermissionError, watch, folder .. "/a")
  end)
end

function TestErrors:test_arguments_are_looked_at_first()
  t.real(function()
    t.assertErrorMsgContains("path (a string) expected, got number", watch, 1)
    t.assertErrorMsgContains("zero byte", watch, "a\0b")
    t.assertErrorMsgContains("unknown option 'recursiv', did you mean 'recursive'?", watch, folder, { recursiv = true })
    t.assertErrorMsgContains("debounce", watch, folder, { debounce = -1 })
  end)
end

t.finish()

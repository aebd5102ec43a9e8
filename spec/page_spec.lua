-- slow: it drives a browser.
-- The page that a trace is shown on: what it knows, and, in a browser, what it shows and how it follows the hands.
local t = require "helper"
local browser = require "browser"
local json = require "json"
local page = require "asyncio.page"

TestPage = {}
TestHands = {}
TestMany = {}
TestModel = {}
TestText = {}
TestJSON = {}

local scratch = os.tmpname()

--- A page with these events and what else is said of the trace: its path.
local function write(events, other)
  local path = scratch .. ".html"
  local text = ('{"traceEvents":%s,"otherData":%s}'):format(type(events) == "string" and events or json.encode(events),
    json.encode(other or { program = "a/b.lua" }))
  local file <close> = assert(io.open(path, "w"))
  file:write(page.before, (text:gsub("<", "\\u003c")), page.after)
  return path
end

local function row(tid, name, what, args)
  args = args or {}
  args.name, args.what = name, what
  return { ph = "M", name = "thread_name", pid = 1, tid = tid, args = args }
end

local function stretch(tid, cat, name, from, to, args)
  return { ph = "X", cat = cat, name = name, pid = 1, tid = tid, ts = from, dur = to - from, args = args }
end

local function wake(id, from, from_ts, to, to_ts)
  return { ph = "s", cat = "wake", name = "wake", id = id, pid = 1, tid = from, ts = from_ts },
    { ph = "f", bp = "e", cat = "wake", name = "wake", id = id, pid = 1, tid = to, ts = to_ts }
end

local function ends(tid, how, ts, args)
  return { ph = "i", s = "t", cat = "end", name = how, pid = 1, tid = tid, ts = ts, args = args }
end

local COLLECTOR, JOBS = 900000000, 900000001

--- A second, in microseconds: "main" puts at 400 ms what "fetch" waits for, and fails at the end; a thread works.
local function sample()
  local woken, arrow = wake(1, 1, 450000, 2, 500000)
  return {
    row(0, "the loop", "loop"), row(1, "main", "task", { source = "main.lua:1", state = "failed" }),
    row(2, "fetch", "task", { source = "main.lua:5", state = "done", made_by = 1 }),
    row(JOBS, "threads", "jobs"), row(COLLECTOR, "the collector", "collector"),
    stretch(1, "step", "step", 0, 100000, { to = "main.lua:2" }),
    stretch(1, "wait", "sleep", 100000, 400000, { at = "main.lua:2" }),
    stretch(1, "step", "step", 400000, 500000, { to = "main.lua:3" }), woken,
    stretch(2, "wait", "queue get", 100000, 450000, { at = "main.lua:7", on = "asyncio.Queue", by = 1 }),
    stretch(2, "ready", "ready", 450000, 500000), arrow,
    stretch(2, "step", "step", 500000, 700000, { to = "main.lua:8" }),
    stretch(1, "wait", "job", 500000, 900000, { at = "main.lua:3" }),
    stretch(JOBS, "job", "crunch", 500000, 880000, { task = 1 }), stretch(1, "step", "step", 900000, 1000000),
    stretch(COLLECTOR, "gc", "collector", 700000, 750000, { before = 900, after = 300 }),
    ends(1, "failed", 1000000, { error = "main.lua:4: boom" }), ends(2, "done", 700000),
  }
end

--- Shows a page to fn, in a browser: whatever happens there, nothing may complain.
local function show(events, opts, fn, other)
  local path = write(events, other)
  browser.drive(function(tab)
    tab:open(path, opts)
    fn(tab)
    t.assertEquals(tab.problems, {})
  end)
end

--- Where a row's time is, in the window: x, y.
local function place(tab, name, time)
  return table.unpack(tab:ask(([[(() => {
    const { view, model } = asyncioPage, box = view.canvas.getBoundingClientRect();
    const row = model.rows.find((row) => row.name === %q);
    return [box.left + view.x(%d), box.top + view.y(row.position) + view.barTop + view.barHeight / 2];
  })()]]):format(name, time)))
end

local function side(tab) return tab:ask "document.getElementById('side').innerText" end
local function window(tab)
  return table.unpack(tab:ask "[asyncioPage.view.window.t0, asyncioPage.view.window.length]")
end

--- How many pixels of the rows have each of the colours that the style gives these names.
local function pixels(tab, ...)
  return tab:ask(([==[(() => {
    const { view } = asyncioPage, { canvas } = view, g = canvas.getContext("2d"), counts = {};
    const { data } = g.getImageData(0, 0, canvas.width, canvas.height);
    for (const name of %s) {
      const colour = name === "text" || name === "back" ? view[name] : view.colours[FAMILY[name]];
      const wanted = [1, 3, 5].map((i) => parseInt(colour.slice(i, i + 2), 16));
      counts[name] = 0;
      for (let i = 0; i < data.length; i += 4)
        if (data[i] === wanted[0] && data[i + 1] === wanted[1] && data[i + 2] === wanted[2]) counts[name]++;
    }
    return counts;
  })()]==]):format(json.encode { ... }))
end

function TestPage:test_says_what_was_traced()
  show(sample(), nil, function(tab)
    t.assertEquals(tab:ask "document.title", "b.lua – trace")
    t.assertEquals(tab:ask "document.getElementById('summary').textContent",
      "2 tasks · 1\u{202f}s · longest step 200\u{202f}ms in fetch · busiest: main · 1 error")
  end)
end

function TestPage:test_says_it_in_numbers_beside()
  show(sample(), nil, function(tab)
    local text = side(tab)
    for _, part in ipairs { "steps\n4", "waits\n3", "50\u{202f}ms in fetch", "main ran 300\u{202f}ms, 30\u{202f}%",
      "1 pause, 50\u{202f}ms", "threads’ jobs\n1", "main.lua:4: boom" } do
      t.assertStrContains(text, part)
    end
  end)
end

function TestPage:test_draws_what_runs_and_what_waits()
  show(sample(), nil, function(tab)
    local counts = pixels(tab, "step", "job", "gc", "back")
    t.assertTrue(counts.step > 5000, counts.step) -- half a second of 1.04, of 730 pixels, 24 high
    t.assertTrue(counts.job > 3000, counts.job)
    t.assertTrue(counts.gc > 400, counts.gc)
    t.assertTrue(counts.back > 10000, counts.back)
  end)
end

function TestPage:test_has_a_legend_of_what_is_to_be_seen_only()
  show(sample(), nil, function(tab)
    t.assertEquals(tab:ask "[...document.querySelectorAll('#legend li')].map((item) => item.textContent)", { "runs",
      "woken, not yet its turn", "sleeps", "waits for items: queue get", "waits for threads, files, programs: job",
      "a thread works", "the collector works", "↷wakes", "✕fails" })
  end)
end

function TestPage:test_is_dark_where_all_is_dark()
  local light, dark
  local ask = "getComputedStyle(document.body).backgroundColor + asyncioPage.view.back"
  show(sample(), nil, function(tab) light = tab:ask(ask) end)
  show(sample(), { dark = true }, function(tab)
    dark = tab:ask(ask)
    t.assertTrue(pixels(tab, "back").back > 10000)
  end)
  t.assertEquals(light, "rgb(252, 252, 250)#fcfcfa")
  t.assertEquals(dark, "rgb(21, 23, 27)#15171b")
end

function TestPage:test_has_room_in_every_width()
  for _, width in ipairs { 360, 600, 1280 } do
    show(sample(), { width = width, height = 640, touch = width == 360 }, function(tab)
      t.assertEquals(tab:ask "document.documentElement.scrollWidth", width)
      t.assertEquals(tab:ask "asyncioPage.view.canvas.getBoundingClientRect().right <= innerWidth", true)
      t.assertTrue(pixels(tab, "step").step > 2000)
    end)
  end
end

function TestPage:test_has_room_for_what_was_found_and_chosen_on_a_phone()
  local events = sample()
  for i = 3, 12000 do events[#events + 1] = row(i, "a rather long name of a task, number " .. i, "task") end
  show(events, { width = 360, height = 640, touch = true }, function(tab)
    tab:ask "document.getElementById('find').focus()"
    tab:type "task, number 1234"
    tab:key "Enter"
    for _, id in ipairs { "found", "help", "side" } do
      local right = tab:ask(("document.getElementById('%s').getBoundingClientRect().right"):format(id))
      t.assertTrue(right > 0 and right <= 360, id)
    end
    t.assertEquals(tab:ask "document.documentElement.scrollWidth", 360)
    t.assertTrue(tab:ask "document.querySelector('#side .close').getBoundingClientRect().right <= 360")
  end)
end

function TestPage:test_shows_an_empty_trace()
  show({}, nil, function(tab)
    t.assertEquals(tab:ask "document.getElementById('summary').textContent", "Nothing happened while this was traced.")
    for _, key in ipairs { "+", "-", "0", "ArrowDown", "ArrowUp", ".", "Enter" } do tab:key(key) end
  end)
end

function TestPage:test_says_that_a_cut_one_cannot_be_read()
  local path = write(sample())
  local text = assert(io.open(path)):read "a"
  assert(io.open(path, "w")):write((text:gsub('"traceEvents":%[', "", 1))):close()
  browser.drive(function(tab)
    tab:open(path)
    t.assertStrContains(tab:ask "document.getElementById('summary').textContent", "This trace cannot be read: ")
    t.assertEquals(tab.problems, {})
  end)
end

function TestPage:test_shows_names_as_they_are_whatever_they_are()
  local evil = "</script><script>document.title = 'mine'</script><img src=x onerror=alert(1)>\u{202e}\u{2028}&amp;"
  local events = sample()
  events[2].args.name = evil
  events[#events - 1].args.error = evil
  show(events, { width = 360 }, function(tab)
    t.assertEquals(tab:ask "document.title", "b.lua – trace")
    t.assertEquals(tab:ask "document.images.length", 0)
    t.assertEquals(tab:ask "asyncioPage.model.rows[0].name", evil)
    t.assertStrContains(tab:ask "document.getElementById('side').textContent", evil)
  end)
end

function TestPage:test_says_how_many_events_were_dropped()
  show(sample(), nil, function(tab)
    t.assertStrContains(tab:ask "document.getElementById('summary').textContent", "1,200 older events dropped")
  end, { program = "x.lua", dropped = 1200 })
end

function TestPage:test_has_several_loops_with_their_rows()
  local events = { row(0, "the loop", "loop"), row(1, "first", "task") }
  for i, name in ipairs { "event loop 1", "event loop 2" } do
    events[#events + 1] = { ph = "M", name = "process_name", pid = i, args = { name = name } }
  end
  for _, event in ipairs { row(0, "the loop", "loop"), row(1, "second", "task"), stretch(1, "step", "step", 0, 9),
    stretch(0, "loop", "turn", 0, 9) } do
    event.pid = 2
    events[#events + 1] = event
  end
  events[#events + 1] = stretch(0, "loop", "turn", 0, 9)
  show(events, nil, function(tab)
    t.assertEquals(tab:ask "asyncioPage.model.rows.map((row) => row.name)",
      { "event loop 1", "first", "event loop 2", "second" })
  end)
end

function TestPage:test_shows_what_the_tracer_writes()
  local path = scratch .. ".real.html"
  local function cook(dish, seconds, kitchen)
    local _ <close> = kitchen:acquire()
    t.asyncio.sleep(seconds)
    if dish == "rice" then error "burnt" end
  end
  t.run(function()
    local _ <close> = t.asyncio.trace(path)
    local kitchen = t.asyncio.Semaphore(1)
    local soup = t.asyncio.create_task { cook, "soup", 2, kitchen, name = "soup" }
    local rice = t.asyncio.create_task { cook, "rice", 1, kitchen, name = "rice" }
    t.asyncio.wait { soup, rice }
    t.assertStrContains(rice:exception(), "burnt")
  end)
  browser.drive(function(tab)
    tab:open(path)
    tab:click(place(tab, "rice", 1000000))
    local text = side(tab)
    t.assertStrContains(text, "waits: semaphore")
    t.assertStrMatches(text, ".*waits at\n[^\n]*page_spec.lua:%d+\n.*woken by\nsoup\n.*")
    local summary = tab:ask "document.getElementById('summary').textContent"
    t.assertStrMatches(summary, "3 tasks · 3\u{202f}s on the virtual clock · .* · 1 error")
    t.assertEquals(tab.problems, {})
  end)
  os.remove(path)
end

-- Hands

function TestHands:test_the_wheel_zooms_where_the_pointer_is()
  show(sample(), nil, function(tab)
    local x, y = place(tab, "fetch", 600000)
    local _, length = window(tab)
    tab:wheel(x, y, -300)
    local _, nearer = window(tab)
    t.assertTrue(nearer < length * 0.6, nearer)
    t.assertAlmostEquals(place(tab, "fetch", 600000), x, 0.5)
    tab:wheel(x, y, 300)
    t.assertAlmostEquals(select(2, window(tab)), length, length / 100)
  end)
end

function TestHands:test_the_wheel_with_shift_moves()
  show(sample(), nil, function(tab)
    local x, y = place(tab, "fetch", 600000)
    tab:wheel(x, y, -300)
    local before, length = window(tab)
    tab:wheel(x, y, 100, 8)
    local after, same = window(tab)
    t.assertTrue(after > before)
    t.assertEquals(same, length)
  end)
end

function TestHands:test_a_drag_moves_and_chooses_nothing()
  show(sample(), nil, function(tab)
    local x, y = place(tab, "fetch", 600000)
    tab:wheel(x, y, -300)
    tab:mouse("mousePressed", x, y, { button = "left", buttons = 1, clickCount = 1 })
    tab:mouse("mouseMoved", x - 60, y, { button = "left", buttons = 1 })
    tab:mouse("mouseReleased", x - 60, y, { button = "left", clickCount = 1 })
    tab:rest()
    t.assertAlmostEquals(place(tab, "fetch", 600000), x - 60, 0.5)
    t.assertEquals(tab:ask "asyncioPage.view.selected", json.null)
  end)
end

function TestHands:test_two_fingers_zoom_and_one_moves()
  show(sample(), { width = 360, height = 700, touch = true }, function(tab)
    local x, y = place(tab, "fetch", 500000)
    tab:touch { { { x - 20, y }, { x + 20, y } }, { { x - 60, y }, { x + 60, y } }, { { x - 90, y }, { x + 90, y } } }
    local before, length = window(tab)
    t.assertTrue(length < 500000, length)
    tab:touch { { { x, y } }, { { x - 30, y } }, { { x - 60, y } } }
    t.assertTrue(window(tab) > before)
    t.assertEquals(select(2, window(tab)), length)
  end)
end

function TestHands:test_a_tap_opens_what_it_meets_and_escape_closes_it()
  show(sample(), { width = 360, height = 700, touch = true }, function(tab)
    local shown = "getComputedStyle(document.getElementById('side')).display !== 'none'"
    t.assertFalse(tab:ask(shown))
    local x, y = place(tab, "fetch", 600000)
    tab:touch { { { x, y } } }
    t.assertTrue(tab:ask(shown))
    t.assertStrContains(side(tab), "main.lua:8")
    t.assertEquals(tab:ask "document.documentElement.scrollWidth", 360)
    tab:key "Escape"
    t.assertFalse(tab:ask(shown))
  end)
end

function TestHands:test_keys_zoom_and_move()
  show(sample(), nil, function(tab)
    local begin, length = window(tab)
    tab:key "+"
    t.assertEquals(select(2, window(tab)), length / 2)
    local before = window(tab)
    tab:key "ArrowRight"
    t.assertTrue(window(tab) > before)
    tab:key "ArrowLeft"
    t.assertAlmostEquals(window(tab), before, 1)
    tab:key "-"
    tab:key "+"
    tab:key "0"
    t.assertEquals({ window(tab) }, { begin, length })
  end)
end

function TestHands:test_keys_go_along_rows()
  show(sample(), nil, function(tab)
    tab:key "ArrowDown"
    tab:key "ArrowDown"
    t.assertStrContains(side(tab), "made at\nmain.lua:5")
    tab:key "."
    t.assertStrContains(side(tab), "waits: queue get")
    tab:key "."
    tab:key "."
    t.assertStrContains(side(tab), "main.lua:8")
    t.assertStrContains(tab:ask "document.getElementById('said').textContent", "main.lua:8") -- for who can't see it
    tab:key "?"
    t.assertStrContains(side(tab), "the whole trace")
  end)
end

function TestHands:test_search_finds_a_task_by_its_name()
  show(sample(), nil, function(tab)
    tab:key "/"
    tab:type "FET"
    t.assertEquals(tab:ask "asyncioPage.view.shown.map((row) => row.name)", { "fetch" })
    t.assertEquals(tab:ask "document.getElementById('found').textContent", "1 of 4")
    tab:key "Enter"
    t.assertStrContains(side(tab), "made at\nmain.lua:5")
    tab:key "Escape"
    t.assertEquals(tab:ask "asyncioPage.view.shown.length", 4)
  end)
end

function TestHands:test_rows_with_nothing_in_the_window_can_be_left_out()
  show(sample(), nil, function(tab)
    local shown = "asyncioPage.view.shown.map((row) => row.name)"
    tab:ask "asyncioPage.view.go(720000, 20000)"
    tab:key "w"
    t.assertEquals(tab:ask(shown), { "main", "threads", "the collector" })
    t.assertEquals(tab:ask "document.getElementById('here').getAttribute('aria-pressed')", "true")
    tab:key "0"
    t.assertEquals(#tab:ask(shown), 4)
    tab:key "w"
    tab:ask "asyncioPage.find('fetch')"
    t.assertEquals(tab:ask(shown), { "fetch" })
    tab:ask "document.querySelector('#here').click()"
    t.assertEquals(tab:ask(shown), { "fetch" })
    tab:ask "asyncioPage.goTo(asyncioPage.model.rows[0], -1)" -- a link to a row that isn't shown
    t.assertEquals(#tab:ask(shown), 4)
  end)
end

function TestHands:test_a_click_on_a_wait_says_where_for_what_and_who_woke()
  show(sample(), nil, function(tab)
    tab:click(place(tab, "fetch", 300000))
    local text = side(tab)
    for _, part in ipairs { "waits: queue get", "waits at\nmain.lua:7", "made at\nmain.lua:5", "for\nasyncio.Queue",
      "took\n350\u{202f}ms", "woken by\nmain", "then ready for\n50\u{202f}ms" } do
      t.assertStrContains(text, part)
    end
  end)
end

function TestHands:test_a_click_on_a_step_says_whom_it_woke()
  show(sample(), nil, function(tab)
    tab:click(place(tab, "main", 440000))
    local text = side(tab)
    t.assertStrContains(text, "until\nmain.lua:3")
    t.assertStrContains(text, "wakes\nfetch")
    tab:ask "[...document.querySelectorAll('#side .link')].find((link) => link.textContent === 'fetch').click()"
    t.assertStrContains(side(tab), "took\n200\u{202f}ms")
  end)
end

function TestHands:test_a_click_on_a_name_says_what_the_task_is()
  show(sample(), nil, function(tab)
    local _, y = place(tab, "main", 0)
    tab:click(40, y)
    local text = side(tab)
    for _, part in ipairs { "made at\nmain.lua:1", "is\nfailed", "runs\n300\u{202f}ms, 30\u{202f}%",
      "main.lua:4: boom" } do
      t.assertStrContains(text, part)
    end
  end)
end

function TestHands:test_a_step_is_met_although_it_is_thinner_than_the_pointer()
  local events = sample()
  events[#events + 1] = stretch(2, "wait", "lock", 700000, 800000, { at = "main.lua:8" })
  events[#events + 1] = stretch(2, "step", "step", 800000, 800007, { to = "main.lua:9" })
  events[#events + 1] = stretch(2, "wait", "lock", 800007, 900000, { at = "main.lua:9" })
  show(events, nil, function(tab)
    local x, y = place(tab, "fetch", 800000)
    tab:click(x + 2, y)
    t.assertStrContains(side(tab), "took\n7\u{202f}µs")
  end)
end

function TestHands:test_a_double_click_shows_that_stretch_alone()
  show(sample(), nil, function(tab)
    local x, y = place(tab, "fetch", 600000)
    tab:click(x, y, 2)
    t.assertEquals({ window(tab) }, { 480000, 240000 })
  end)
end

function TestHands:test_the_pointer_shows_what_it_is_over()
  show(sample(), nil, function(tab)
    local x, y = place(tab, "fetch", 300000)
    tab:mouse("mouseMoved", x, y)
    tab:rest()
    t.assertStrContains(tab:ask "document.getElementById('tip').innerText", "queue get, 350\u{202f}ms\nfetch\n")
    tab:mouse("mouseMoved", x, 5)
    tab:rest()
    t.assertTrue(tab:ask "document.getElementById('tip').hidden")
  end)
end

function TestHands:test_the_strip_above_goes_where_it_is_pressed()
  show(sample(), nil, function(tab)
    tab:key "+"
    tab:key "+"
    tab:key "Home"
    local before = window(tab)
    local x, y = table.unpack(tab:ask [[(() => {
      const box = asyncioPage.view.map.getBoundingClientRect();
      return [box.right - 20, box.top + 10];
    })()]])
    tab:click(x, y)
    t.assertTrue(window(tab) > before)
  end)
end

-- Much of it

local TURN = [[{"ph":"X","cat":"wait","name":"queue get","pid":1,"tid":%d,"ts":%d,"dur":%d,"args":{"at":"crowd.lua:9"}},
{"ph":"X","cat":"step","name":"step","pid":1,"tid":%d,"ts":%d,"dur":3,"args":{"to":"crowd.lua:9"}},
{"ph":"s","cat":"wake","name":"wake","id":%d,"pid":1,"tid":%d,"ts":%d},
{"ph":"f","bp":"e","cat":"wake","name":"wake","id":%d,"pid":1,"tid":%d,"ts":%d}]]

--- So many tasks that take turns, each of them waking the next, in `count` events: JSON.
local function crowd(tasks, count)
  local events = {}
  for i = 1, tasks do
    events[i] = json.encode(row(i, "task " .. i, "task", { source = "crowd.lua:" .. i }))
  end
  for n = 0, count // 4 - 1 do
    local tid, time = n % tasks + 1, n * 3
    local since = n < tasks and 0 or time - tasks * 3 + 3
    events[#events + 1] = TURN:format(tid, since, time - since, tid, time, n, (n - 1) % tasks + 1,
      math.max(0, time - 1), n, tid, time)
  end
  return "[" .. table.concat(events, ",\n") .. "]"
end

local function drawn(tab) return tab:ask "asyncioPage.view.drawn" end

function TestMany:test_draws_no_more_than_the_pixels_however_many_events_there_are()
  show(crowd(12, 100000), nil, function(tab)
    t.assertTrue(tab:ask "asyncioPage.model.events >= 100000")
    local width = tab:ask "asyncioPage.view.plot"
    tab:key "0"
    for _ = 1, 12 do
      local before = drawn(tab)
      t.assertTrue(before.calls > 0 and before.calls <= 2 * width * 12, before.calls)
      tab:key "+"
      t.assertEquals(drawn(tab).frames, before.frames + 1)
    end
    t.assertTrue(drawn(tab).calls < 1500, "the nearer, the less is in it")
    tab:key "0"
    local ms = tab:ask [[(() => {
      const { view } = asyncioPage, begun = performance.now();
      for (let i = 0; i < 20; i++) {
        view.zoom(0.8, 600);
        view.draw();
      }
      return (performance.now() - begun) / 20;
    })()]]
    t.assertTrue(ms < 500, ms) -- generous: this is to find what grows with the events
  end)
end

function TestMany:test_draws_the_rows_that_are_to_be_seen_only()
  show(crowd(10000, 60000), nil, function(tab)
    local state = drawn(tab)
    t.assertTrue(state.calls > 0 and state.calls < 40 * 2 * 730, state.calls)
    tab:key "/"
    tab:type "task 7777"
    t.assertEquals(tab:ask "asyncioPage.view.shown.length", 1)
    tab:key "Enter"
    t.assertStrContains(side(tab), "crowd.lua:7777")
    tab:key "Escape"
    tab:key "Escape"
    local x, y = table.unpack(tab:ask [[(() => {
      const box = asyncioPage.view.canvas.getBoundingClientRect();
      return [box.left + 20, box.top + 200];
    })()]])
    tab:wheel(x, y, 3000)
    t.assertTrue(tab:ask "asyncioPage.view.scroller.scrollTop > 1000")
  end)
end

function TestMany:test_arrows_are_all_there_when_few_and_of_one_row_when_many()
  show(sample(), nil, function(tab) t.assertEquals(drawn(tab).arrows, 1) end)
  show(crowd(12, 20000), nil, function(tab)
    t.assertEquals(drawn(tab).arrows, 0)
    tab:key "ArrowDown"
    local arrows = drawn(tab).arrows
    t.assertTrue(arrows > 100 and arrows <= 600, arrows)
  end)
end

-- What it knows, without a document

--- Calls fn with a page that is there already, if one is.
local function known(fn)
  browser.drive(function(tab)
    if not tab:ask "typeof readTrace === 'function'" then tab:open(write(sample())) end
    fn(tab)
  end)
end

--- The value of an expression in which `row` is one with these stretches, as { { from, to, family }, … }.
local function of_row(stretches, expression)
  local events = {}
  for i, one in ipairs(stretches) do events[i] = stretch(1, one[3], one[4] or "sleep", one[1], one[2]) end
  local result
  known(function(tab)
    result = tab:ask(("(() => { const row = readTrace({ traceEvents: %s }).rows[0]; return %s; })()"):format(
      json.encode(events), expression))
  end)
  return result
end

local SCAN = [[(() => {
  const calls = [];
  row.scan(%s, (x0, x1, family, runs, i, count) => calls.push([x0, x1, FAMILIES[family].key, runs, count]));
  return calls;
})()]]

function TestModel:test_what_is_wide_is_drawn_by_itself()
  t.assertEquals(of_row({ { 0, 10, "step" }, { 10, 30, "wait" } }, SCAN:format "0, 1, 100"),
    { { 0, 10, "step", 1, 1 }, { 10, 30, "time", 0, 1 } })
end

function TestModel:test_what_is_narrow_is_drawn_together_with_the_part_that_ran()
  local stretches = {}
  for i = 0, 199 do
    table.insert(stretches, { i, i + 0.25, "step" })
    table.insert(stretches, { i + 0.25, i + 1, "wait" })
  end
  t.assertEquals(of_row(stretches, SCAN:format "0, 0.01, 100"),
    { { 0, 1, "time", 0.25, 200 }, { 1, 2, "time", 0.25, 200 } })
end

function TestModel:test_what_is_wide_is_not_swallowed_by_the_pixel_it_begins_in()
  t.assertEquals(of_row({ { 0, 0.1, "step" }, { 0.1, 0.2, "wait" }, { 0.2, 8, "wait" } }, SCAN:format "0, 1, 100"),
    { { 0, 1, "step", 0.1, 2 }, { 0.2, 8, "time", 0, 1 } })
end

function TestModel:test_only_what_is_in_the_window_is_looked_at()
  t.assertEquals(of_row({ { 0, 10, "step" }, { 10, 20, "wait" }, { 30, 40, "step" }, { 90, 99, "step" } },
    SCAN:format "12, 1, 30"), { { -1, 8, "time", 0, 1 }, { 18, 28, "step", 1, 1 } })
end

function TestModel:test_the_nearest_step_is_found_before_the_wait_around_it()
  local stretches = { { 0, 50, "wait" }, { 50, 50.1, "step" }, { 50.1, 90, "wait" } }
  t.assertEquals(of_row(stretches, "[row.at(49, 2), row.at(47, 2), row.at(60, 2), row.at(99, 2), row.before(50)]"),
    { 1, 0, 2, -1, 1 })
end

function TestModel:test_a_callback_has_its_place_within_a_turn()
  local events = { row(0, "loop", "loop"), stretch(0, "loop", "turn", 10, 20), stretch(0, "loop", "callback", 12, 15),
    stretch(0, "loop", "callback", 16, 16), stretch(0, "loop", "poll", 20.0004, 30) }
  known(function(tab)
    t.assertEquals(tab:ask(([==[(() => {
      const row = readTrace({ traceEvents: %s }).rows[0];
      return row.events.map((event, i) => [event.name, row.from[i], row.to[i]]);
    })()]==]):format(json.encode(events))), { { "turn", 10, 12 }, { "callback", 12, 15 }, { "turn", 15, 16 },
      { "callback", 16, 16 }, { "turn", 16, 20 }, { "poll", 20.0004, 30 } })
  end)
end

function TestModel:test_a_wait_for_a_task_says_which()
  local events = { row(1, "main", "task"), row(2, "worker", "task"),
    stretch(1, "wait", "await", 0, 9, { on = "task 2", on_task = 2 }) }
  show(events, nil, function(tab)
    tab:click(place(tab, "main", 4))
    t.assertStrContains(side(tab), "for\nworker")
  end)
end

function TestModel:test_threads_stand_below_a_few_tasks_and_above_many()
  for tasks, index in pairs { [2] = 2, [40] = 0 } do
    local events = { row(JOBS, "threads", "jobs"), stretch(JOBS, "job", "crunch", 0, 9) }
    for i = 1, tasks do events[#events + 1] = row(i, "task " .. i, "task", { source = "a.lua:0" }) end
    known(function(tab)
      local rows = ("readTrace({ traceEvents: %s }).rows"):format(json.encode(events))
      t.assertEquals(tab:ask(rows .. ".findIndex((row) => row.name === 'threads')"), index)
      t.assertEquals(tab:ask(rows .. ".find((row) => row.name === 'task 1').source"), "a.lua")
    end)
  end
end

function TestModel:test_events_come_in_any_order()
  t.assertEquals(of_row({ { 50, 60, "step" }, { 0, 10, "step" }, { 10, 50, "wait" } },
    "[[...row.from], row.busy, row.steps, row.longest]"), { { 0, 10, 50 }, 20, 2, 10 })
end

function TestModel:test_every_kind_of_wait_has_a_family()
  local KINDS = { sleep = "time", ["give way"] = "time", await = "task", gather = "task", wait = "task",
    wait_eof = "net",
    ["queue get"] = "items", ["channel put"] = "items", lock = "sync", ["condition's lock"] = "sync", pool = "sync",
    ["socket receive"] = "net", ["socket.sleep"] = "time", ["name lookup"] = "net", file = "outside", files = "outside",
    process = "outside", job = "outside", ["whatever else"] = "other", readline = "net", drain = "net", race = "task" }
  known(function(tab)
    for kind, family in pairs(KINDS) do
      local expression = ("FAMILIES[familyOf('wait', %s)].key"):format(json.encode(kind))
      t.assertEquals({ kind, tab:ask(expression) }, { kind, family })
    end
  end)
end

function TestModel:test_a_zoom_keeps_its_place_and_its_bounds()
  known(function(tab)
    local pair = "(({ t0, length }) => [t0, length])"
    local zoom = pair .. "(zoomWindow({ begin: 0, end: 1000 }, { t0: %s, length: %s }, %s, %s))"
    t.assertEquals(tab:ask(zoom:format(100, 200, 0.5, 200)), { 150, 100 })
    t.assertEquals(tab:ask(zoom:format(100, 200, 100, 200)), { -20, 1040 })
    t.assertEquals(tab:ask(zoom:format(100, 200, 0, 200)), { 199.75, 0.5 })
    t.assertEquals(tab:ask(pair .. "(clampWindow({ begin: 0, end: 1000 }, 5000, 100))"), { 920, 100 })
  end)
end

function TestModel:test_times_are_written_with_their_units()
  known(function(tab)
    local WORDS = { [0] = "0 s", [0.5] = "500 ns", [12] = "12 µs", [999.9] = "1 ms", [1234] = "1.23 ms",
      [999999] = "1 s",
      [2.5e6] = "2.5 s", [90e6] = "1 min 30 s", [7260e6] = "2 h 1 min" }
    for us, words in pairs(WORDS) do
      t.assertEquals((tab:ask(("inWords(%s)"):format(us)):gsub("\u{202f}", " ")), words)
    end
    t.assertEquals(tab:ask "ticksOf(0, 1000, 500, 90).map((tick) => tick.text.replace('\\u202f', ' '))",
      { "0.0 ms", "0.2 ms", "0.4 ms", "0.6 ms", "0.8 ms", "1.0 ms" })
  end)
end

-- The text itself

function TestText:test_is_small_and_asks_for_nothing_from_elsewhere()
  local text = page.before .. page.after
  t.assertTrue(#text < 60 * 1024, #text)
  t.assertNil(text:find "https?://")
  t.assertNil(text:find "src=")
  t.assertNil(text:find "@import")
  t.assertStrContains(text, "default-src 'none'")
end

function TestText:test_has_its_parts_in_their_places()
  t.assertStrMatches(page.before, '<!doctype html>.*<script type="application/json" id="trace">\n')
  t.assertStrMatches(page.after, "</script>\n<script>.*</script>\n</html>\n")
  t.assertNil((page.before .. page.after):find "%$%l+\n")
end

-- What reads a trace here

function TestJSON:test_reads_what_it_writes()
  for _, value in ipairs { { 1, -2.5, "a\"\\\n\0é" }, { a = { b = {} }, c = true, ["ü \t"] = json.null }, "", 1e300 } do
    t.assertEquals(json.decode(json.encode(value)), value)
  end
end

function TestJSON:test_reads_every_escape()
  t.assertEquals(json.decode [["\u0041\n\/\\\"\u00e9\ud83d\ude00\\u0041"]], "A\n/\\\"é😀\\u0041")
  t.assertEquals(json.decode " [ 1 , { \"a\" : null } , -1.5e3, false ] ", { 1, { a = json.null }, -1500, false })
end

function TestJSON:test_says_where_a_text_is_wrong()
  for _, text in ipairs { "", "[1,]", "[1", '{"a"}', '{"a":1', "{1:2}", '"a', '"\n"', "01", "1.", "nul", "1 2", "[1 2]",
    [["\q"]], [["\u12"]] } do
    t.assertStrContains(t.error_of(json.decode, text), "line ")
  end
end

if not browser.program() then
  for _, class in ipairs { TestPage, TestHands, TestMany, TestModel } do
    for name in pairs(class) do class[name] = function() t.skip "no chromium" end end
  end
else
  for _, class in ipairs { TestPage, TestHands, TestMany, TestModel } do
    t.leave_out(class, ".") -- it is the browser's work, not ours, that a tool would look at
  end
end
function TestText:tearDown() browser.close() os.remove(scratch) os.remove(scratch .. ".html") end
t.finish()

/*
** date.c - see date.h.
*/
#include "http/date.h"

#include <string.h>

#include "http/chars.h"

static const char DAYS[] = "SunMonTueWedThuFriSat",
                  MONTHS[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
static const char *const LONG_DAYS[] = {"Sunday",   "Monday", "Tuesday", "Wednesday",
                                        "Thursday", "Friday", "Saturday"};

typedef struct Moment {
  int64_t year;
  int month, day, hour, minute, second; /* months from 0, days from 1 */
} Moment;

/* Days since 1970 of a date in the Gregorian calendar; years begin with March here, so that leap days come last. */
static int64_t days_of(int64_t year, int month, int day) {
  year -= month < 2;
  int64_t era = (year >= 0 ? year : year - 399) / 400, in_era = year - era * 400;
  int64_t in_year = (153 * (month < 2 ? month + 10 : month - 2) + 2) / 5 + day - 1;
  return era * 146097 + in_era * 365 + in_era / 4 - in_era / 100 + in_year - 719468;
}

static void date_of(int64_t days, Moment *m) {
  days += 719468;
  int64_t era = (days >= 0 ? days : days - 146096) / 146097, in_era = days - era * 146097;
  int64_t year = (in_era - in_era / 1460 + in_era / 36524 - in_era / 146096) / 365;
  int64_t in_year = in_era - (365 * year + year / 4 - year / 100), part = (5 * in_year + 2) / 153;
  m->day = (int)(in_year - (153 * part + 2) / 5 + 1);
  m->month = (int)(part < 10 ? part + 2 : part - 10);
  m->year = year + era * 400 + (m->month < 2);
}

static void put(char *to, int n, int64_t value) {
  while (n--) {
    to[n] = (char)('0' + value % 10);
    value /= 10;
  }
}

bool http_write_date(int64_t seconds, char to[HTTP_DATE]) {
  Moment m;
  int64_t days = seconds / 86400 - (seconds % 86400 < 0);
  if (days < days_of(0, 0, 1) || days > days_of(9999, 11, 31)) return false;
  int64_t rest = seconds - days * 86400;
  date_of(days, &m);
  static const char shape[HTTP_DATE] = "Sun, 06 Nov 1994 08:49:37 GMT";
  for (int i = 0; i < HTTP_DATE; i++) to[i] = shape[i];
  memcpy(to, DAYS + 3 * (((days + 4) % 7 + 7) % 7), 3);
  put(to + 5, 2, m.day);
  memcpy(to + 8, MONTHS + (ptrdiff_t)3 * m.month, 3);
  put(to + 12, 4, m.year);
  put(to + 17, 2, rest / 3600);
  put(to + 20, 2, rest / 60 % 60);
  put(to + 23, 2, rest % 60);
  return true;
}

/* Reading */

typedef struct Text {
  const char *at;
  size_t n;
} Text;

static bool skip(Text *t, const char *text) {
  size_t n = strlen(text);
  if (t->n < n || memcmp(t->at, text, n) != 0) return false;
  t->at += n;
  t->n -= n;
  return true;
}

/* n digits; a space may stand in place of the first one. */
static bool take(Text *t, size_t n, bool space, int *value) {
  if (t->n < n) return false;
  *value = 0;
  for (size_t i = 0; i < n; i++) {
    if (space && !i && t->at[0] == ' ') continue;
    if (!http_is(t->at[i], CHAR_DIGIT)) return false;
    *value = *value * 10 + (t->at[i] - '0');
  }
  t->at += n;
  t->n -= n;
  return true;
}

static bool take_of(Text *t, const char *names, int count, int *which) {
  for (int i = 0; t->n >= 3 && i < count; i++) {
    if (memcmp(t->at, names + (ptrdiff_t)3 * i, 3) != 0) continue;
    *which = i;
    t->at += 3;
    t->n -= 3;
    return true;
  }
  return false;
}

static bool take_time(Text *t, Moment *m) {
  return take(t, 2, false, &m->hour) && skip(t, ":") && take(t, 2, false, &m->minute) &&
         skip(t, ":") && take(t, 2, false, &m->second) && m->hour < 24 && m->minute < 60 &&
         m->second < 61;
}

static bool read_usual(Text t, Moment *m) {
  int weekday, year;
  if (!take_of(&t, DAYS, 7, &weekday) || !skip(&t, ", ") || !take(&t, 2, false, &m->day) ||
      !skip(&t, " ") || !take_of(&t, MONTHS, 12, &m->month) || !skip(&t, " ") ||
      !take(&t, 4, false, &year) || !skip(&t, " "))
    return false;
  m->year = year;
  return take_time(&t, m) && skip(&t, " GMT") && !t.n;
}

static bool read_850(Text t, int64_t now, Moment *m) {
  Moment today;
  int year, i = 0;
  while (i < 7 && !skip(&t, LONG_DAYS[i])) i++;
  if (i == 7 || !skip(&t, ", ") || !take(&t, 2, false, &m->day) || !skip(&t, "-") ||
      !take_of(&t, MONTHS, 12, &m->month) || !skip(&t, "-") || !take(&t, 2, false, &year) ||
      !skip(&t, " "))
    return false;
  date_of(now / 86400, &today);
  m->year = today.year - today.year % 100 + year;
  if (m->year > today.year + 50) m->year -= 100;
  return take_time(&t, m) && skip(&t, " GMT") && !t.n;
}

static bool read_asctime(Text t, Moment *m) {
  int weekday, year;
  if (!take_of(&t, DAYS, 7, &weekday) || !skip(&t, " ") || !take_of(&t, MONTHS, 12, &m->month) ||
      !skip(&t, " ") || !take(&t, 2, true, &m->day) || !skip(&t, " ") || !take_time(&t, m) ||
      !skip(&t, " ") || !take(&t, 4, false, &year))
    return false;
  m->year = year;
  return !t.n;
}

bool http_read_date(const char *bytes, size_t n, int64_t now, int64_t *seconds) {
  Moment m, same;
  Text text = {bytes, n};
  if (!read_usual(text, &m) && !read_850(text, now, &m) && !read_asctime(text, &m)) return false;
  int64_t days = days_of(m.year, m.month, m.day);
  date_of(days, &same);
  if (m.day < 1 || same.day != m.day || same.month != m.month) return false; /* 30 Feb */
  *seconds = days * 86400 + m.hour * INT64_C(3600) + m.minute * INT64_C(60) + m.second;
  return true;
}

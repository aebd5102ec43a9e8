/*
** filter.h - an engine as what stands between a stream and its handle: net/filter.h's contract.
*/
#ifndef ASY_TLS_FILTER_H
#define ASY_TLS_FILTER_H

#include "net/filter.h"

ASY_HIDDEN

/* FilterSource's `make`, for the source in a Context. */
Filter *filter_make(FilterSource *source, const FilterOrder *order);

ASY_HIDDEN_END

#endif

/* SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
 * SPDX-License-Identifier: GPL-3.0-or-later
 *
 * A program that never stops parsing:
 *
 *     writer --- pipe ---> parser 1, with an XML_Parser of its own   counts elements and characters,
 *            --- pipe ---> parser 2 ...                              compares them with what was written
 *
 * Lines on standard input, one answer each:
 *     progress   every parser finishes one more document          -> progress
 *     negative   XML_ParseBuffer(parser, -1) with a new parser    -> accepted | error N
 *     end        the writer ends, the parsers read what is left   -> written N parsed N wrong N
 */
#include <errno.h>
#include <pthread.h>
#include <stdint.h>
#include <time.h>
#include <unistd.h>

#include <expat.h>

#include "protocol.h"

enum { PARSERS = 4, CHUNK = 512, ITEMS = 40 };

/* Before each document on a pipe: how long it is and what must be found in it. */
struct header {
    uint32_t length, elements, characters;
};

struct parser {
    pthread_t thread;
    int in, out;
    uint32_t elements, characters;
    unsigned parsed, wrong;
};

static struct parser parsers[PARSERS];
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t finished = PTHREAD_COND_INITIALIZER;
static unsigned written;
static int ending; /* atomic */

/* All of the bytes, whatever read(2) returns at once; 0 at the end of the pipe. */
static int read_all(int in, void *data, size_t size)
{
    for (size_t done = 0; done < size;) {
        ssize_t got = read(in, (char *)data + done, size - done);
        if (got == 0)
            return 0;
        CHECK(got > 0 || errno == EINTR);
        done += got > 0 ? (size_t)got : 0;
    }
    return 1;
}

/* All of the bytes; a short write is no error for a pipe that a signal or a stop interrupts. */
static void write_all(int out, const void *data, size_t size)
{
    for (size_t done = 0; done < size;) {
        ssize_t put = write(out, (const char *)data + done, size - done);
        CHECK(put > 0 || errno == EINTR);
        done += put > 0 ? (size_t)put : 0;
    }
}

static void write_document(int out, unsigned seed)
{
    char text[16384];
    struct header header = {.elements = 1 + ITEMS};
    size_t length = (size_t)sprintf(text, "<!DOCTYPE d [<!ENTITY e \"entity\">]><d>");
    for (unsigned item = 0; item < ITEMS; item++) {
        char words[64];
        int size = sprintf(words, "%x", seed * 2654435761u + item);
        length += (size_t)sprintf(text + length, "<item number=\"%u\" at='%s'>%s&e;<!-- %s --><![CDATA[<%s>]]></item>",
                                  item, words, words, words, words);
        header.characters += (uint32_t)(2 * size + 6 + 2);
    }
    length += (size_t)sprintf(text + length, "</d>");
    header.length = (uint32_t)length;
    write_all(out, &header, sizeof header);
    write_all(out, text, length);
}

static void *write_documents(void *unused)
{
    /* About 2,000 documents in a second; the rest of the machine belongs to others. */
    const struct timespec rest = {.tv_nsec = 400000};
    (void)unused;
    while (!__atomic_load_n(&ending, __ATOMIC_SEQ_CST)) {
        write_document(parsers[written % PARSERS].out, written);
        written++;
        nanosleep(&rest, NULL);
    }
    for (int i = 0; i < PARSERS; i++)
        close(parsers[i].out);
    return NULL;
}

static void XMLCALL on_element(void *data, const XML_Char *name, const XML_Char **attributes)
{
    struct parser *parser = data;
    parser->elements += *name == 'd' || attributes[0] != NULL;
}

static void XMLCALL on_characters(void *data, const XML_Char *text, int length)
{
    (void)text;
    ((struct parser *)data)->characters += (uint32_t)length;
}

static void *parse_documents(void *data)
{
    struct parser *parser = data;
    XML_Parser expat = XML_ParserCreate(NULL);
    CHECK(expat);
    for (struct header header; read_all(parser->in, &header, sizeof header);) {
        CHECK(XML_ParserReset(expat, NULL));
        XML_SetUserData(expat, parser);
        XML_SetStartElementHandler(expat, on_element);
        XML_SetCharacterDataHandler(expat, on_characters);
        parser->elements = parser->characters = 0;
        int right = 1;
        for (uint32_t left = header.length; left;) {
            int size = left < CHUNK ? (int)left : CHUNK;
            void *buffer = XML_GetBuffer(expat, size);
            CHECK(buffer && read_all(parser->in, buffer, (size_t)size));
            left -= (uint32_t)size;
            right &= XML_ParseBuffer(expat, size, left == 0) == XML_STATUS_OK;
        }
        right &= parser->elements == header.elements && parser->characters == header.characters;
        pthread_mutex_lock(&lock);
        parser->parsed++;
        parser->wrong += !right;
        pthread_cond_broadcast(&finished);
        pthread_mutex_unlock(&lock);
    }
    XML_ParserFree(expat);
    return NULL;
}

static void wait_for_progress(void)
{
    pthread_mutex_lock(&lock);
    for (int i = 0; i < PARSERS; i++)
        for (unsigned before = parsers[i].parsed; parsers[i].parsed == before;)
            pthread_cond_wait(&finished, &lock);
    pthread_mutex_unlock(&lock);
}

static void try_negative_length(void)
{
    XML_Parser expat = XML_ParserCreate(NULL);
    CHECK(expat && XML_GetBuffer(expat, CHUNK));
    if (XML_ParseBuffer(expat, -1, 0) == XML_STATUS_OK)
        say("accepted");
    else
        say("error %d", (int)XML_GetErrorCode(expat));
    XML_ParserFree(expat);
}

int main(void)
{
    pthread_t writer;
    for (int i = 0; i < PARSERS; i++) {
        int ends[2];
        CHECK(pipe(ends) == 0);
        parsers[i].in = ends[0];
        parsers[i].out = ends[1];
        CHECK(pthread_create(&parsers[i].thread, NULL, parse_documents, &parsers[i]) == 0);
    }
    CHECK(pthread_create(&writer, NULL, write_documents, NULL) == 0);
    wait_for_progress();
    say("ready");
    for (;;) {
        const char *line = hear();
        if (after(line, "progress")) {
            wait_for_progress();
            say("progress");
        } else if (after(line, "negative")) {
            try_negative_length();
        } else if (after(line, "end")) {
            unsigned parsed = 0, wrong = 0;
            __atomic_store_n(&ending, 1, __ATOMIC_SEQ_CST);
            CHECK(pthread_join(writer, NULL) == 0);
            for (int i = 0; i < PARSERS; i++) {
                CHECK(pthread_join(parsers[i].thread, NULL) == 0);
                parsed += parsers[i].parsed;
                wrong += parsers[i].wrong;
            }
            say("written %u parsed %u wrong %u", written, parsed, wrong);
        } else {
            say("unknown");
        }
    }
}

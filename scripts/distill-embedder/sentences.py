# SPDX-License-Identifier: Apache-2.0
"""Sentences that the project made for the fit.

They are requests to the service of a shop, a bank, an airline or a landlord,
composed at random, but always the same, from the templates and word lists
below: they show how such requests are put.
"""

import random

OPENINGS = """;;;;;;hi;hello;hey there;good morning;please help;sorry to bother you;quick question;i need help;excuse me;um hi;
dear team;hello support;so;well;ok so;i am a bit confused;i'm really annoyed;help;any idea""".replace("\n", "").split(";")

CLOSINGS = """;;;;;;;thanks;thank you;please;please advise;any help appreciated;what now?;can you help?;it is urgent;asap;
i am getting impatient;this is ridiculous;no rush;let me know;cheers;many thanks in advance;what should i do?""".replace("\n", "").split(";")

THINGS = """card;debit card;credit card;bank account;account;password;pin;passcode;payment;transfer;direct debit;standing order;
cash withdrawal;top up;refund;statement;invoice;receipt;exchange rate;fee;charge;deposit;loan;mortgage;salary;cheque;order;
parcel;package;delivery;letter;replacement;spare part;battery;charger;cable;adapter;plug;remote;manual;filter;brush;wheel;sensor;
screen;keyboard;printer;laptop;phone;tablet;tv;router;camera;speaker;headphones;watch;vacuum cleaner;robot;mop;air purifier;
steamer;iron;coffee machine;kettle;grinder;toaster;oven;dishwasher;washing machine;fridge;heater;lamp;bike;scooter;car;app;
website;login;email address;phone number;home address;name;profile;photo;subscription;membership;voucher;gift card;discount code;
ticket;booking;flight;seat;luggage;hotel room;reservation;table;meal;rent;lease;key;lock;boiler;tap;shower;window;contract;
insurance;claim;warranty;policy;appointment;prescription;test result;identity check;passport;document;source of funds;beneficiary;
merchant;currency;atm;contactless payment;apple pay;google pay;virtual card;limit;balance;transaction;shop;courier;driver;agent;
schedule;timer;map;dock;base station;water tank;dust bin;hose;nozzle;milk frother;cup;bean container;firmware;update;wifi;
bluetooth;notification;alarm;sound;noise;smell;leak;steam;light;button;display;cover;lid;bag;box;label;colour;size""".replace("\n", "").split(";")

PROBLEMS = """is not working;does not work any more;stopped working;is broken;is damaged;is missing;has not arrived;never arrived;
is late;was declined;was rejected;got cancelled;has disappeared;is still pending;failed;keeps failing;is wrong;is too high;
was charged twice;looks strange;has been stolen;is lost;was swallowed;is stuck;is blocked;is frozen;won't turn on;won't charge;
won't connect;won't open;will not start;does not heat;makes a loud noise;smells burnt;is leaking;drips on the floor;
leaves streaks;keeps blinking;shows an error;is offline;has expired;is about to expire;is empty;is full;is jammed;is cracked;
is scratched;is the wrong size;is the wrong colour;is not what i ordered;was reverted;has not been updated;
does not show up;is not recognised;can't be found;keeps disconnecting;turns itself off;runs at the wrong time;gets hot;
is dirty;came off;fell apart;is slower than before;used to be better""".replace("\n", "").split(";")

ACTIONS = """activate;cancel;change;check;replace;return;repair;reset;unblock;freeze;close;open;delete;update;verify;track;reorder;
order;buy;sell;send back;exchange;connect;pair;disconnect;install;clean;descale;charge;transfer money with;pay for;top up;
withdraw cash with;get a refund for;complain about;find;register;insure;upgrade;renew;extend;stop;pause;restart;share;print;
download;link;use;set up;return and get my money back for;get a second;lower the price of;dispute;report""".replace("\n", "").split(";")

TEMPLATES = """how do i {a} my {t}?|how can i {a} the {t}|where can i {a} a {t}?|can i {a} my {t} online?|is it possible to {a} my {t}|
i want to {a} my {t}|i would like to {a} the {t}|i need to {a} my {t} as soon as possible|i tried to {a} my {t} but it {p}|
could you please {a} my {t}|why can't i {a} my {t}?|what do i need to {a} a {t}|do you charge a fee to {a} the {t}?|
how long does it take to {a} my {t}?|when will you {a} my {t}|i forgot to {a} the {t}|please {a} the {t} i got last week|
my {t} {p}|the {t} {p}|my new {t} {p}|the {t} i bought yesterday {p}|my {t} {p} again|why is it that my {t} {p}?|
my {t} {p} and the {t2} {p2} too|the {t} {p}, how do i {a} it?|i think my {t} {p}|since the update my {t} {p}|
what can i do if the {t} {p}?|what happens when my {t} {p}?|my {t} {p} even though i did {a} it|
there is a {t} on my {t2} that i don't recognise|where is my {t}?|where do i find the {t}|i can't find my {t}|
do you have a {t} for the {t2}?|does the {t} work with a {t2}?|which {t} do you support|how much is a {t}?|what is the {t} for?|
who can use the {t}|in which countries can i {a} a {t}?|i never asked for a {t}|i did not make this {t}|
i love my {t}|the {t} is great, thank you|best {t} i ever had|great service, the {t} came early|your {t} is terrible|
i am very unhappy with the {t}|worst {t} ever|i am disappointed, the {t} {p}|nobody answers about my {t}|
i have been waiting for my {t} for two weeks|my {t} was supposed to be here on monday|still no {t}|
the {t} says delivered but it {p}|can you tell me the status of my {t}?|i sent back the {t} but got no refund|
i want my money back for the {t}|the {t} does the job|not bad, this {t}|the {t} was cheaper elsewhere|
is there a limit on the {t}?|am i too young for a {t}?|what is the difference between a {t} and a {t2}?|
it's about the {t}, it {p}|{t} {p}|{t} and {t2}|{a} {t}|how to {a} {t}|help with {t}|{t} problem""".replace("\n", "").split("|")


def composed(count, seed):
    """Requests to customer services."""
    draw = random.Random(seed)
    out = []
    for _ in range(count):
        text = draw.choice(TEMPLATES).format(
            a=draw.choice(ACTIONS), t=draw.choice(THINGS), t2=draw.choice(THINGS),
            p=draw.choice(PROBLEMS), p2=draw.choice(PROBLEMS),
        )
        opening, closing = draw.choice(OPENINGS), draw.choice(CLOSINGS)
        if opening:
            text = opening + draw.choice([", ", " ", ". ", "! "]) + text
        if closing:
            text += draw.choice([". ", " ", ", ", " - "]) + closing
        out.append(text)
    return out


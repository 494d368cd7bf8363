"""The superpixel method as tensor code on any torch device, with the bytes of the CPU's code.

On probation until it has run on a card. Importing a module of this room imports torch.
"""

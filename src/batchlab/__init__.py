"""batchlab: which batch size, with which learning rate, for how many epochs, and why?"""
